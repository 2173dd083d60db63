//go:build linux

package native

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

const (
	eventStream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
	plainChunks = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// chunk is a text as a chunk of an answer; of the empty one, the last chunk.
func chunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

// allModes are one load of each kind of client, an open one too.
func allModes(requests int, keepAlive bool) map[string]scenarios.LoadSpec {
	all := modes(requests, keepAlive)
	all["open"] = scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientOpen, Pool: 8, Rate: 100, Arrivals: scenarios.ArrivalsConstant, KeepAlive: keepAlive}
	return all
}

// A sentEvent is when the writing of an event began and had ended.
type sentEvent struct{ from, to instant }

// A schedule serves streams of events at moments, and logs when it really sent them.
type schedule struct {
	clock clock
	first time.Duration // from the head to the first event
	gaps  []time.Duration

	mu   sync.Mutex
	sent [][]sentEvent   // by answer
	wait []time.Duration // from the reading of each request to the writing of its first event
}

func (s *schedule) serve(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
	for readRequest(r) {
		came := s.clock.now()
		if _, err := io.WriteString(c, eventStream); err != nil {
			return
		}
		var sent []sentEvent
		for i := range len(s.gaps) + 1 {
			pause := s.first
			if i > 0 {
				pause = s.gaps[i-1]
			}
			time.Sleep(pause)
			from := s.clock.now()
			if _, err := io.WriteString(c, chunk(fmt.Sprintf("data: %d\n\n", i))); err != nil {
				return
			}
			sent = append(sent, sentEvent{from, s.clock.now()})
		}
		s.mu.Lock()
		s.sent, s.wait = append(s.sent, sent), append(s.wait, sent[0].from.sub(came))
		s.mu.Unlock()
		if _, err := io.WriteString(c, chunk("")); err != nil {
			return
		}
	}
}

// TestStreamsAreTrue compares what the client measures with the server's log of when it
// sent each event. An event arrives after its writing began, and over loopback before
// that has ended, so each gap lies between two bounds, and so does each percentile of
// them. As in TestLatencyIsTrue, the upper bound has an allowance for a machine that
// does other things.
func TestStreamsAreTrue(t *testing.T) {
	const (
		allowance = 100 * time.Millisecond
		precision = 0.001 // of the histogram
		requests  = 8
	)
	gaps := slices.Repeat([]time.Duration{20 * time.Millisecond}, 12)
	gaps[5] = 200 * time.Millisecond
	for _, keepAlive := range []bool{false, true} {
		for mode, spec := range allModes(requests, keepAlive) {
			t.Run(fmt.Sprintf("%s/keepalive=%t", mode, keepAlive), func(t *testing.T) {
				t.Parallel()
				s := &schedule{clock: newClock(), first: 50 * time.Millisecond, gaps: gaps}
				url := startRaw(t, "tcp", "127.0.0.1:0", s.serve).url
				request := get("/")
				request.Expect.Events = &expect.Count{Min: 13, Max: 13}
				request.Expect.LastEvent = &expect.Event{Text: "12"}
				r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: spec})
				if r.Replies != requests || r.Streams != requests || r.Events != requests*13 || r.FirstEvent.Count() != requests || r.EventGap.Count() != requests*12 {
					t.Fatalf("%d replies, %d streams, %d events: %v", r.Replies, r.Streams, r.Events, r.FirstErrors)
				}
				var least, most []time.Duration
				shortest, longest := 0.0, 0.0 // of all answers together, from the first event to the last
				for _, sent := range s.sent {
					for i := range sent[1:] {
						least = append(least, max(sent[i+1].from.sub(sent[i].to), 0))
						most = append(most, sent[i+1].to.sub(sent[i].from))
					}
					shortest += float64(sent[12].from.sub(sent[0].to))
					longest += float64(sent[12].to.sub(sent[0].from) + allowance)
				}
				for _, p := range []float64{50, 99, 100} {
					got := r.EventGap.Percentile(p)
					if low := nearestRank(least, p); got+time.Microsecond < time.Duration(float64(low)*(1-precision)) {
						t.Errorf("p%v of the gaps is %v; the server knows at least %v", p, got, low)
					}
					if high := nearestRank(most, p) + allowance; got > high {
						t.Errorf("p%v of the gaps is %v; the server knows at most %v", p, got, high)
					}
				}
				if sum := float64(r.EventGap.Mean()) * requests * 12; sum+requests*12 < shortest || sum > longest {
					t.Errorf("the gaps are %v together; the server knows from %v to %v", time.Duration(sum), time.Duration(shortest), time.Duration(longest))
				}
				for _, p := range []float64{10, 50, 100} {
					want, got := nearestRank(s.wait, p), r.FirstEvent.Percentile(p)
					if got+time.Microsecond < time.Duration(float64(want)*(1-precision)) || p <= 50 && got > want+allowance {
						t.Errorf("p%v of the first events is %v; the server knows %v", p, got, want)
					}
				}
				if r.FirstByte.Percentile(50) >= r.FirstEvent.Percentile(50) || r.FirstEvent.Percentile(50) >= r.Latency.Percentile(50) {
					t.Errorf("first byte %v, first event %v, latency %v", r.FirstByte.Percentile(50), r.FirstEvent.Percentile(50), r.Latency.Percentile(50))
				}
			})
		}
	}
}

// TestStreams: what counts as an event, however it comes, and what is not as expected.
func TestStreams(t *testing.T) {
	events := func(least, most int) expect.Answer {
		return expect.Answer{Status: 200, Events: &expect.Count{Min: least, Max: most}}
	}
	last := func(text string, json map[string]string) expect.Answer {
		return expect.Answer{Status: 200, LastEvent: &expect.Event{Text: text, JSON: json}}
	}
	three := eventStream + chunk("data: 1\n\ndata: 2\n\n") + chunk("data: [DO") + chunk("NE]\n\n") + chunk("")
	cases := map[string]struct {
		answer string
		stream string
		expect expect.Answer
		events int    // of a reply; -1: it does not stream
		kind   string // of the error; empty: it is a reply
		says   string // a part of its message
	}{
		"coalesced and split":     {three, "", events(3, 3), 3, "", ""},
		"nothing is expected":     {three, "", expect.Answer{Status: 200}, 3, "", ""},
		"asked for":               {three, wire.StreamEvents, expect.Answer{}, 3, "", ""},
		"the last one, a text":    {three, "", last("[DONE]", nil), 3, "", ""},
		"the last one, a pattern": {three, "", last(`/^\[DONE\]$/`, nil), 3, "", ""},
		"the last one has places": {eventStream + chunk("data: 1\n\ndata: {\"done\": true, \"n\": [{\"a\": \"xy\"}]}\n\n") + chunk(""), "",
			last("", map[string]string{"done": "true", "n.0.a": "/^x/"}), 2, "", ""},
		"a length":                   {"HTTP/1.1 200 OK\r\nContent-Type: TEXT/Event-Stream\r\nContent-Length: 18\r\n\r\ndata: 1\r\n\r\n: x\r\n\r\n", "", events(1, 1), 1, "", ""},
		"until close":                {"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2\n\ndata: 3\n", "", events(2, 2), 2, "", ""},
		"heartbeats":                 {eventStream + chunk(": ping\n\n") + chunk(": ping\n\ndata: 1\n\n") + chunk(""), "", events(1, 1), 1, "", ""},
		"no event":                   {eventStream + chunk(": ping\n\n") + chunk(""), "", expect.Answer{Status: 200}, 0, "", ""},
		"another answer":             {plainChunks + chunk("data: 1\n\n") + chunk(""), "", expect.Answer{Status: 200}, -1, "", ""},
		"compressed, and not needed": {strings.Replace(three, "\r\n", "\r\nContent-Encoding: gzip\r\n", 1), "", expect.Answer{Status: 200}, -1, "", ""},
		"lines":                      {plainChunks + chunk("{\"a\": 1}\n{\"b\"") + chunk(": 2}\r\n\r\n\r\n") + chunk(`{"done": true}`) + chunk(""), wire.StreamLines, last("", map[string]string{"done": "true"}), 3, "", ""},
		"lines of an event stream":   {three, wire.StreamLines, events(3, 3), 3, "", ""},
		"chunks":                     {plainChunks + chunk("a") + chunk("bb") + chunk("c\n\nd") + chunk(""), wire.StreamChunks, last("c\n\nd", nil), 3, "", ""},
		"chunks of an event stream":  {three, wire.StreamChunks, events(3, 0), 3, "", ""},

		"too few":             {three, "", events(4, 0), 0, load.ErrStream, "3 events instead of 4-"},
		"too many":            {three, "", expect.Answer{Status: 200, Events: &expect.Count{Min: 1, Max: 2}, LastEvent: &expect.Event{Text: "x"}}, 0, load.ErrStream, `3 events instead of 1-2; the last one is "[DONE]"`},
		"another last one":    {three, "", last("done", nil), 0, load.ErrStream, `the last event is "[DONE]" instead of "done"`},
		"no match":            {three, "", last("/^{/", nil), 0, load.ErrStream, `the last event is "[DONE]", which does not match ^{`},
		"no JSON":             {three, "", last("", map[string]string{"done": "true"}), 0, load.ErrStream, `the last event is not JSON`},
		"other JSON":          {eventStream + chunk("data: {\"done\": false}\n\n") + chunk(""), "", last("", map[string]string{"done": "true"}), 0, load.ErrStream, "the last event's done is false instead of true"},
		"no last one":         {eventStream + chunk(""), "", last("x", nil), 0, load.ErrStream, "there was no event"},
		"no stream":           {plainChunks + chunk(`{"error": "busy"}`) + chunk(""), wire.StreamEvents, expect.Answer{Status: 200}, 0, load.ErrStream, `Content-Type is not text/event-stream, or it has a Content-Encoding; it begins with "{\"error\": \"busy\"}"`},
		"compressed":          {strings.Replace(three, "\r\n", "\r\nContent-Encoding: gzip\r\n", 1), "", events(3, 3), 0, load.ErrStream, "Content-Encoding"},
		"compressed lines":    {strings.Replace(three, "\r\n", "\r\nContent-Encoding: br\r\n", 1), wire.StreamLines, expect.Answer{}, 0, load.ErrStream, "Content-Encoding"},
		"no chunks":           {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", wire.StreamChunks, expect.Answer{}, 0, load.ErrStream, "not chunked"},
		"a status first":      {strings.Replace(three, "200 OK", "503 Busy", 1), "", events(4, 4), 0, load.ErrStatus, "503 instead of 200"},
		"cut":                 {strings.TrimSuffix(three, chunk("")), "", expect.Answer{Status: 200}, 0, load.ErrTruncated, "within its stream after 3 events"},
		"cut within an event": {eventStream + chunk("data: 1\n\n") + "40\r\ndata: 2", "", events(1, 1), 0, load.ErrTruncated, "within its stream after 1 event"},
		"cut until close":     {"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\ndata: [DO", "", last("[DONE]", nil), 0, load.ErrStream, `the last event is "1" instead of "[DONE]"`},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{1, 7, len(test.answer)} {
				url := startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
					_ = c.SetNoDelay(true)
					if !readRequest(r) {
						return
					}
					for part := range slices.Chunk([]byte(test.answer), piece) {
						if _, err := c.Write(part); err != nil {
							return
						}
					}
				}).url
				request := get("/")
				request.Stream, request.Expect = test.stream, test.expect
				for mode, spec := range allModes(3, false) {
					if mode != scenarios.ClientSingle && piece != 7 {
						continue // how bytes come is the same for all
					}
					r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: spec})
					if test.kind != "" {
						if r.Replies != 0 || r.ErrorKinds[test.kind] != 3 || !strings.Contains(r.FirstErrors[test.kind], test.says) {
							t.Errorf("%s, in pieces of %d: %d replies, errors %v", mode, piece, r.Replies, r.FirstErrors)
						}
						if r.Streams != 0 || r.Events != 0 || r.FirstEvent != nil || r.EventGap != nil {
							t.Errorf("%s: what failed is measured: %d streams, %d events", mode, r.Streams, r.Events)
						}
						continue
					}
					streams, first, gaps := 3, 3, 3*(test.events-1)
					if test.events < 0 {
						streams = 0
					}
					if test.events <= 0 {
						first, gaps = 0, 0
					}
					count := func(l *load.Latency) int {
						if l == nil {
							return 0
						}
						return int(l.Count())
					}
					if r.Replies != 3 || r.Streams != streams || r.Events != max(0, 3*test.events) || count(r.FirstEvent) != first || count(r.EventGap) != gaps {
						t.Errorf("%s, in pieces of %d: %d replies, %d streams, %d events, %d first ones, %d gaps: %v", mode, piece,
							r.Replies, r.Streams, r.Events, count(r.FirstEvent), count(r.EventGap), r.FirstErrors)
					}
				}
			}
		})
	}
}

// TestFault26EndlessStreams: a stream that never ends is bounded by the time-out, and
// one that never pauses by the limit of a body.
func TestFault26EndlessStreams(t *testing.T) {
	endless := func(pause time.Duration, text string) string {
		return startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
			readRequest(r)
			_, err := io.WriteString(c, eventStream)
			for block := chunk(text); err == nil; time.Sleep(pause) {
				_, err = io.WriteString(c, block)
			}
		}).url
	}
	request := get("/")
	request.Timeout = 300 * time.Millisecond
	request.Expect.LastEvent = &expect.Event{Text: "x"}
	r := mustFire(t, &Client{}, load.Job{URL: endless(10*time.Millisecond, "data: 1\n\n"), Request: request, Load: modes(4, true)["mt"]})
	if r.ErrorKinds[load.ErrTimeout] != 4 || !strings.Contains(r.FirstErrors[load.ErrTimeout], "reading the stream, after ") {
		t.Errorf("slow: %v", r.FirstErrors)
	}
	request.Timeout = 5 * time.Minute // under the race detector, on a busy machine, it took one
	spec := modes(10, true)["mt"]
	r, most := fireMetered(t, &Client{}, load.Job{URL: endless(0, strings.Repeat("data: 1\n\n", 7000)), Request: request, Load: spec})
	if r.ErrorKinds[load.ErrProtocol] != 10 || !strings.Contains(r.FirstErrors[load.ErrProtocol], "larger than allowed") {
		t.Errorf("fast: %v", r.FirstErrors)
	}
	// Ten answers of 64 MiB have 75 million events.
	if limit := int64(25 << 20); !raceDetector && most > limit {
		t.Errorf("the client process had %d KiB of its own; up to %d are allowed", most>>10, limit>>10)
	}
}

// TestLongStream: a stream with more gaps than are kept one by one has them all.
func TestLongStream(t *testing.T) {
	const events = 3*mostGaps + 5
	url, _ := startHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range events {
			fmt.Fprintf(w, "data: %d\n\n", i)
		}
	})
	request := get("/")
	request.Expect.LastEvent = &expect.Event{Text: fmt.Sprint(events - 1)}
	r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: modes(6, true)["mt"]})
	if r.Replies != 6 || r.Events != 6*events || r.EventGap.Count() != 6*(events-1) {
		t.Errorf("%d replies, %d events, %d gaps: %v", r.Replies, r.Events, r.EventGap.Count(), r.FirstErrors)
	}
}

// TestStreamOverTLS: events are told apart behind the encryption.
func TestStreamOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}))
	t.Cleanup(server.Close)
	request := get("/")
	request.TLS = &wire.TLS{Insecure: true}
	r := mustFire(t, &Client{}, load.Job{URL: server.URL, Request: request, Load: modes(4, true)["single"]})
	if r.Events != 20 || r.EventGap.Count() != 16 || r.EventGap.Percentile(50) < 10*time.Millisecond {
		t.Errorf("%d events, median gap %v: %v", r.Events, r.EventGap.Percentile(50), r.FirstErrors)
	}
}
