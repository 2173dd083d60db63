//go:build linux

package native

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"stackmeter/orchestrator/load"
)

// answersOf makes an answerReader of a fixed text, which comes a byte at a time or as
// fast as it can.
func answersOf(text string, slow bool) *answerReader {
	var r io.Reader = strings.NewReader(text)
	if slow {
		r = iotest.OneByteReader(r)
	}
	a := newAnswerReader(r.Read, 1<<20)
	a.begin(true)
	return a
}

func TestAnswer(t *testing.T) {
	type answer struct {
		status    int
		keepAlive bool
	}
	cases := map[string]struct {
		method string
		text   string
		want   answer
		kind   string // of the failure; "" when there is none
	}{
		"a length":             {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", answer{200, true}, ""},
		"no reason":            {"GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", answer{200, true}, ""},
		"bare newlines":        {"GET", "HTTP/1.1 200 OK\nContent-Length: 1\n\na", answer{200, true}, ""},
		"asks to close":        {"GET", "HTTP/1.1 200 OK\r\nCONNECTION: foo, Close\r\nContent-Length: 0\r\n\r\n", answer{200, false}, ""},
		"HTTP/1.0":             {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", answer{200, false}, ""},
		"HTTP/1.0 kept":        {"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", answer{200, true}, ""},
		"until close":          {"GET", "HTTP/1.1 200 OK\r\n\r\nabcdef", answer{200, false}, ""},
		"until close, nothing": {"GET", "HTTP/1.1 200 OK\r\n\r\n", answer{200, false}, ""},
		"chunks":               {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA \r\n0123456789\r\n0\r\n\r\n", answer{200, true}, ""},
		"trailers":             {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\nZ: z\r\n\r\n", answer{200, true}, ""},
		"chunks beat a length": {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", answer{200, false}, ""},
		"interim answers":      {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\na", answer{201, true}, ""},
		"HEAD":                 {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", answer{200, true}, ""},
		"204":                  {"GET", "HTTP/1.1 204 None\r\n\r\n", answer{204, true}, ""},
		"304":                  {"GET", "HTTP/1.1 304 Same\r\nContent-Length: 100\r\n\r\n", answer{304, true}, ""},
		"the same length twice": {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
			answer{200, true}, ""},

		"nothing":            {"GET", "", answer{}, load.ErrReset},
		"HTTP/2":             {"GET", "HTTP/2 200\r\n\r\n", answer{}, load.ErrProtocol},
		"status 99":          {"GET", "HTTP/1.1 099 X\r\n\r\n", answer{}, load.ErrProtocol},
		"a long status":      {"GET", "HTTP/1.1 2000 X\r\n\r\n", answer{}, load.ErrProtocol},
		"switches protocols": {"GET", "HTTP/1.1 101 Switching\r\n\r\n", answer{}, load.ErrProtocol},
		"no colon":           {"GET", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", answer{}, load.ErrProtocol},
		"negative length":    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", answer{}, load.ErrProtocol},
		"length list":        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", answer{200, true}, ""},
		"different lengths":  {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\na", answer{}, load.ErrProtocol},
		"space before colon": {"GET", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na", answer{}, load.ErrProtocol},
		"gzip, chunked":      {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", answer{}, load.ErrProtocol},
		"a bad chunk size":   {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", answer{}, load.ErrProtocol},
		"a huge chunk":       {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", answer{}, load.ErrProtocol},
		"a chunk too long":   {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", answer{}, load.ErrProtocol},
		"ends in a trailer":  {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX", answer{}, load.ErrTruncated},
		"HEAD with a body":   {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", answer{}, load.ErrTruncated},
		"too long":           {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", answer{}, load.ErrTruncated},
		"over the limit":     {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", answer{}, load.ErrProtocol},
		"until close, over":  {"GET", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("a", 1<<20+1), answer{}, load.ErrProtocol},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, slow := range []bool{false, true} {
				got, err := answersOf(tc.text, slow).next(tc.method)
				if slow && tc.kind == load.ErrTruncated && err == nil {
					continue // what comes later than the end cannot be seen
				}
				kind := ""
				if f := (*load.Failure)(nil); errors.As(err, &f) {
					kind = f.Kind
				} else if err != nil {
					t.Fatalf("%v is no failure", err)
				}
				if kind != tc.kind || err == nil && (answer{got.status, got.keepAlive}) != tc.want {
					t.Errorf("slow %t: got %+v, %v; want %+v, %q", slow, got, err, tc.want, tc.kind)
				}
			}
		})
	}
}

// Several answers on one connection are told apart.
func TestAnswersInARow(t *testing.T) {
	texts := []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\n",
		"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n",
	}
	a := newAnswerReader(func(b []byte) (int, error) {
		n := copy(b, texts[0])
		if texts[0] = texts[0][n:]; texts[0] == "" {
			texts = texts[1:]
		}
		return n, nil
	}, 100)
	a.begin(true)
	for i := range 3 {
		got, err := a.next(http.MethodGet)
		if err != nil || got.status != 200+i || !got.keepAlive {
			t.Fatalf("answer %d: %+v, %v", i, got, err)
		}
		a.begin(false)
	}
}

// FuzzAnswer feeds anything to the parser. It has to end, to fail with Failures only,
// and to read the same, with the same events, however the bytes are cut.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), false)
	f.Add([]byte("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.0 404 \r\nConnection: keep-alive, close\r\n\r\nrest"), true)
	f.Add([]byte(longHeaders), false)
	f.Add([]byte(eventStream+chunk("data: 1\n\nda")+chunk("ta: 2\r\n\r\n")+chunk("")), false)
	type answered struct {
		head    head
		streams bool
		events  int
	}
	f.Fuzz(func(t *testing.T, data []byte, isHead bool) {
		method := http.MethodGet
		if isHead {
			method = http.MethodHead
		}
		read := func(r io.Reader) (got answered, kind string) {
			a := newAnswerReader(r.Read, 1<<16)
			a.begin(true)
			h, err := a.next(method)
			if err == nil {
				if h.status < 200 || h.status > 999 {
					t.Fatalf("status %d", h.status)
				}
				return answered{h, a.stream.on, a.stream.events}, ""
			}
			failure := (*load.Failure)(nil)
			if !errors.As(err, &failure) {
				t.Fatalf("%v is no failure", err)
			}
			return answered{}, failure.Kind
		}
		whole, kind := read(bytes.NewReader(data))
		cut, cutKind := read(iotest.HalfReader(bytes.NewReader(data)))
		// Only what follows an answer's end may be seen or not be seen.
		if kind != load.ErrTruncated && cutKind != load.ErrTruncated && (kind != cutKind || whole != cut) {
			t.Errorf("read at once: %+v %q; cut: %+v %q", whole, kind, cut, cutKind)
		}
	})
}
