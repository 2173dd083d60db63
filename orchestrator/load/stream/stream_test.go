package stream

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios/wire"
)

// split gives the events of a body that comes in pieces of a size. Of those that end
// with the same piece, all but the last are empty.
func split(kind, body string, size int) (events []string) {
	s := Splitter{Keep: true}
	s.Begin(kind)
	count := func(n int) {
		for range n {
			events = append(events, "")
		}
		if n > 0 {
			events[len(events)-1] = string(s.Last())
		}
	}
	for part := range slices.Chunk([]byte(body), max(size, 1)) {
		count(s.Write(part))
	}
	count(s.End())
	return events
}

func TestSplitter(t *testing.T) {
	tests := []struct {
		name, kind, body string
		want             []string
	}{
		{"two", wire.StreamEvents, "data: one\n\ndata: two\n\n", []string{"one", "two"}},
		{"line ends of all kinds", wire.StreamEvents, "data: a\r\n\r\ndata: b\r\rdata: c\n\r\ndata: d\r\n\r", []string{"a", "b", "c", "d"}},
		{"several lines of data", wire.StreamEvents, "data: a\ndata:b\ndata:  c\n\n", []string{"a\nb\n c"}},
		{"data without a value", wire.StreamEvents, "data\n\ndata\ndata\n\ndata:\n\n", []string{"", "\n", ""}},
		{"heartbeats", wire.StreamEvents, ": ping\n\n:\n\n\n\ndata: a\n: ping\n\n", []string{"a"}},
		{"other fields", wire.StreamEvents, "event: done\nid: 7\nretry: 10\n\nevent: x\ndata: a\ndatas: b\ndat: c\nDATA: d\n data: e\n\n", []string{"a"}},
		{"a byte order mark", wire.StreamEvents, "\uFEFFdata: a\n\n\uFEFFdata: b\n\n", []string{"a"}},
		{"half a byte order mark", wire.StreamEvents, "\xEF\xBBdata: a\n\ndata: b\n\n", []string{"b"}},
		{"a byte order mark alone", wire.StreamEvents, "\uFEFF\n\ndata: a\n\n", []string{"a"}},
		{"the last one is not ended", wire.StreamEvents, "data: a\n\ndata: b\n", []string{"a"}},
		{"letters of several bytes", wire.StreamEvents, "data: größer 5 €\n\n", []string{"größer 5 €"}},
		{"nothing", wire.StreamEvents, "", nil},

		{"lines", wire.StreamLines, "{\"a\":1}\n\n \r\n{\"b\":2}\r\n", []string{`{"a":1}`, `{"b":2}`}},
		{"a last line without an end", wire.StreamLines, "one\ntwo", []string{"one", "two"}},
		{"blank lines alone", wire.StreamLines, "\n\n  ", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// A byte at a time, each event is told as it ends.
			if got := split(test.kind, test.body, 1); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			for size := 2; size <= len(test.body); size++ {
				got := split(test.kind, test.body, size)
				if len(got) != len(test.want) || len(got) > 0 && got[len(got)-1] != test.want[len(got)-1] {
					t.Errorf("in pieces of %d: %d events, %q", size, len(got), got)
				}
			}
		})
	}
}

// Chunks are what the reader of the body says they are.
func TestChunks(t *testing.T) {
	s := Splitter{Keep: true}
	s.Begin(wire.StreamChunks)
	for _, chunk := range []string{"data: a\n\n", "b\n\nc"} {
		for part := range slices.Chunk([]byte(chunk), 3) {
			if n := s.Write(part); n != 0 {
				t.Errorf("%d events in the middle of a chunk", n)
			}
		}
		if n := s.Chunk(); n != 1 || string(s.Last()) != chunk {
			t.Errorf("%d events with the end of chunk %q, which is %q", n, chunk, s.Last())
		}
	}
	if n := s.End(); n != 0 {
		t.Errorf("%d events with the end", n)
	}
}

// reference reads a whole event stream by the words of the specification.
func reference(body string) (events []string) {
	body = strings.TrimPrefix(body, "\uFEFF")
	lines := regexp.MustCompile("\r\n|\r|\n").Split(body, -1)
	data, filled := "", false
	for _, line := range lines[:len(lines)-1] { // the last one has no end
		if line == "" {
			if filled {
				events = append(events, strings.TrimSuffix(data, "\n"))
			}
			data, filled = "", false
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		if field == "data" {
			data += strings.TrimPrefix(value, " ") + "\n"
			filled = true
		}
	}
	return events
}

// FuzzSplitter: whatever comes, in whatever pieces, the events are those of the
// specification. The same splitter reads one body after the other.
func FuzzSplitter(f *testing.F) {
	for _, body := range []string{"data: a\r\n\r\ndata: b\r\r", "\uFEFFdata:a\n: b\ndata\n\n", "\xEF\xBBdata\n\n", "data:: a\n\nid\n\ndata: \xff\n\n"} {
		f.Add([]byte(body), 3)
	}
	s := Splitter{Keep: true}
	f.Fuzz(func(t *testing.T, body []byte, size int) {
		want := reference(string(body))
		if got := split(wire.StreamEvents, string(body), 1); !slices.Equal(got, want) {
			t.Fatalf("%q has the events %q, want %q", body, got, want)
		}
		s.Begin(wire.StreamEvents)
		n := 0
		for part := range slices.Chunk(body, max(1, size%64)) {
			n += s.Write(part)
		}
		if last := string(s.Last()); n != len(want) || n > 0 && last != want[n-1] {
			t.Fatalf("%q in pieces has %d events, the last %q; want %q", body, n, last, want)
		}
	})
}

// BenchmarkSplitter is what telling events apart costs for each byte.
func BenchmarkSplitter(b *testing.B) {
	body := []byte(strings.Repeat(`data: {"choices":[{"delta":{"content":" token"},"index":0}],"object":"chat.completion.chunk"}`+"\n\n", 100))
	s := Splitter{}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s.Begin(wire.StreamEvents)
		if s.Write(body) != 100 {
			b.Fatal("not 100 events")
		}
	}
}
