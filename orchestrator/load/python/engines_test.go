package python

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

// both are the two engines, each as a function that fires a job.
func both(t *testing.T) map[string]func(*testing.T, load.Job) load.Result {
	c := local(t)
	return map[string]func(*testing.T, load.Job) load.Result{
		"native": func(t *testing.T, job load.Job) load.Result {
			b, err := (&native.Client{}).Prepare(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			r, err := b.Fire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		"python-requests": func(t *testing.T, job load.Job) load.Result { return mustFire(t, c, job) },
	}
}

// enginesLoads are loads that the native engine can send from inside a test.
func enginesLoads(requests int, keepAlive bool) []scenarios.LoadSpec {
	return append(modes(requests, keepAlive)[:2], scenarios.LoadSpec{
		Requests: requests, Client: scenarios.ClientOpen, Pool: 4, Rate: 500, Arrivals: scenarios.ArrivalsPoisson, KeepAlive: keepAlive,
	})
}

// text is a whole answer with a body.
func text(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// TestEnginesAgree gives both engines the same answers. They have to count the same
// replies and the same kinds of errors, with the same first messages about what an
// answer holds.
func TestEnginesAgree(t *testing.T) {
	engines := both(t)
	numbered := func(a asked) string { return text(fmt.Sprint(a.n)) }
	const right = `{"results": [{"label": "cat", "score": 1.0}]}`
	tests := []struct {
		name   string
		expect expect.Answer
		answer func(asked) string // to one of 12 requests, four with each payload
		errors map[string]int
	}{
		{"right", expect.Answer{Status: 200}, numbered, nil},
		{"sometimes another status", expect.Answer{Status: 200}, func(a asked) string {
			return map[bool]string{true: "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", false: text("ok")}[a.n%3 == 0]
		}, map[string]int{load.ErrStatus: 4}},
		{"any success", expect.Answer{}, func(asked) string { return "HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n" }, nil},
		{"JSON, right", expect.Answer{JSON: map[string]string{"results.0.label": `"cat"`, "results.0.score": "1"}},
			func(asked) string { return text(right) }, nil},
		{"JSON, sometimes wrong", expect.Answer{JSON: map[string]string{"results.0.label": `/^(cat|dog)$/`}}, func(a asked) string {
			if a.n%4 == 0 {
				return text(strings.Replace(right, "cat", "cow", 1))
			}
			return text(right)
		}, map[string]int{load.ErrMismatch: 3}},
		{"no JSON", expect.Answer{JSON: map[string]string{"label": "1"}}, func(asked) string { return text(`{"label": NaN}`) },
			map[string]int{load.ErrMismatch: 12}},
		{"an expression of Go's dialect", expect.Answer{Match: `^\pL+\z`}, func(a asked) string {
			return text(map[bool]string{true: "größer", false: "größer\n"}[a.n%2 == 0])
		}, map[string]int{load.ErrMismatch: 6}},
		{"all different", expect.Answer{Match: `^\d+$`}, numbered, nil},
		{"all different and wrong", expect.Answer{Match: `^x`}, numbered, map[string]int{load.ErrMismatch: 12}},
		{"the same for each file", expect.Answer{BodyDigest: expect.DigestSame},
			func(a asked) string { return text("seen " + a.payload) }, nil},
		{"another answer for one file", expect.Answer{BodyDigest: expect.DigestSame}, func(a asked) string {
			if a.payload == "b" && a.same > 2 { // the third and the fourth time
				return text("mixed up")
			}
			return text("seen " + a.payload)
		}, map[string]int{load.ErrMismatch: 2}},
		{"a wrong status is not looked into", expect.Answer{Status: 200, Match: "x"},
			func(asked) string { return "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx" }, map[string]int{load.ErrStatus: 12}},
		{"chunks", expect.Answer{Match: "^halfhalf$"},
			func(asked) string {
				return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nhalf\r\n0\r\n\r\n"
			}, nil},
		{"sometimes cut off", expect.Answer{Match: "half"}, func(a asked) string {
			return map[bool]string{true: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", false: text("half")}[a.n%6 == 0]
		}, map[string]int{load.ErrTruncated: 2}},
	}
	// What else a server can do wrong, with every answer.
	for name, wrong := range map[string]struct{ answer, kind string }{
		"nothing":                 {"", load.ErrReset},
		"half a status line":      {"HTTP/1.1 2", load.ErrTruncated},
		"half a head":             {"HTTP/1.1 200 OK\r\nContent-Len", load.ErrTruncated},
		"a head without its end":  {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", load.ErrTruncated},
		"half a chunk":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf", load.ErrTruncated},
		"no last chunk":           {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", load.ErrTruncated},
		"a chunk size that is no": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", load.ErrProtocol},
		"longer than its length":  {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhalf", load.ErrTruncated},
		"another protocol":        {"220 mail.example ESMTP\r\n", load.ErrProtocol},
		"a flood of headers":      {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 90), load.ErrProtocol},
		"an endless line":         {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 40<<10) + "\r\n\r\n", load.ErrProtocol},
		"too large a body":        {"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", load.MaxBody+1), load.ErrProtocol},
	} {
		tests = append(tests, struct {
			name   string
			expect expect.Answer
			answer func(asked) string
			errors map[string]int
		}{name, expect.Answer{Status: 200}, func(asked) string { return wrong.answer }, map[string]int{wrong.kind: 12}})
	}
	for _, test := range tests {
		for _, spec := range enginesLoads(12, false) {
			t.Run(test.name+"/"+spec.Client, func(t *testing.T) {
				messages := map[string]map[string]string{}
				for name, fire := range engines {
					url := serveNumbered(t, test.answer)
					request := wire.Request{Method: "POST", Path: "/", Timeout: 20 * time.Second, Expect: test.expect,
						Body: &wire.Body{Files: letters(t)}}
					r := fire(t, load.Job{URL: url, Request: request, Load: spec, Seed: 7})
					wrong := 0
					for _, n := range test.errors {
						wrong += n
					}
					if r.Replies != 12-wrong || r.Errors != wrong || !maps.Equal(r.ErrorKinds, test.errors) {
						t.Errorf("%s: %d replies, errors %v (%v); want %v", name, r.Replies, r.ErrorKinds, r.FirstErrors, test.errors)
					}
					if got := r.Latency; (got == nil) != (wrong == 12) || got != nil && got.Count() != int64(12-wrong) {
						t.Errorf("%s: latencies %+v", name, got)
					}
					messages[name] = r.FirstErrors
				}
				for _, kind := range []string{load.ErrMismatch, load.ErrStatus} {
					// Where every answer differs, which is the first one is chance.
					one, other := messages["native"][kind], messages["python-requests"][kind]
					if one, other = beforeQuote(one), beforeQuote(other); one != other {
						t.Errorf("%s: native says %q, python-requests %q", kind, one, other)
					}
				}
			})
		}
	}
}

// beforeQuote is a message without the answer that it quotes.
func beforeQuote(message string) string {
	before, _, _ := strings.Cut(message, "begins with")
	return before
}

// TestEnginesRecordAlike: both engines' records have the same figures.
func TestEnginesRecordAlike(t *testing.T) {
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	for _, keepAlive := range []bool{false, true} {
		for _, spec := range enginesLoads(12, keepAlive) {
			for name, fire := range both(t) {
				t.Run(spec.Name()+"/"+name, func(t *testing.T) {
					r := fire(t, load.Job{URL: url, Request: get("/"), Load: spec, Seed: 7})
					open := spec.Client == scenarios.ClientOpen
					count := func(l *load.Latency) int64 {
						if l == nil {
							return 0
						}
						return l.Count()
					}
					if r.Replies != 12 || count(r.Latency) != 12 || count(r.FirstByte) != 12 || r.CPU <= 0 || r.BytesSent == 0 || r.BytesRead == 0 {
						t.Errorf("%+v", r)
					}
					if n := count(r.Connect); keepAlive && (n < 1 || n > int64(spec.Pool)) || !keepAlive && n != 12 {
						t.Errorf("%d connections", n)
					}
					if r.FirstByte != nil && r.Latency != nil && (r.FirstByte.Min() <= 0 || r.FirstByte.Max() > r.Latency.Max()) {
						t.Errorf("first byte after up to %v, latency up to %v", r.FirstByte.Max(), r.Latency.Max())
					}
					want := int64(0)
					if open {
						want = 12
					}
					if count(r.Service) != want || count(r.Lateness) != want || (r.InFlight > 0) != open || (r.Little == 0) != open || (r.StartDelay == 0) != open {
						t.Errorf("service of %d, lateness of %d, at most %d under way, Little %v, start delay %v",
							count(r.Service), count(r.Lateness), r.InFlight, r.Little, r.StartDelay)
					}
				})
			}
		}
	}
}

// TestEnginesSendAgain: if the server had closed a kept connection, a new one is made,
// and there is no error. If the server closes it over a request, there is one.
func TestEnginesSendAgain(t *testing.T) {
	for name, fire := range both(t) {
		url := serveConnections(t, func(c net.Conn, r *bufio.Reader) {
			if _, ok := readBody(r); ok {
				_, _ = io.WriteString(c, text("ok"))
			}
		})
		r := fire(t, load.Job{URL: url, Request: get("/"), Load: modes(5, true)[0]})
		if r.Replies != 5 || r.Retries != 4 || r.Connect.Count() != 5 {
			t.Errorf("%s: %d replies, %d retries, %d connections: %v", name, r.Replies, r.Retries, r.Connect.Count(), r.FirstErrors)
		}
		url = serveConnections(t, func(c net.Conn, r *bufio.Reader) {
			if _, ok := readBody(r); ok {
				_, _ = io.WriteString(c, text("ok"))
				readBody(r)
			}
		})
		r = fire(t, load.Job{URL: url, Request: get("/"), Load: modes(6, true)[0]})
		if r.Replies != 3 || r.ErrorKinds[load.ErrReset] != 3 || r.Retries != 0 {
			t.Errorf("%s: %d replies, %d retries, errors %v; want 3, none, 3 of reset", name, r.Replies, r.Retries, r.FirstErrors)
		}
	}
}

// asked is a request as a server counts it, from 1: of all, and of those with the same
// payload.
type asked struct {
	n, same int
	payload string
}

// serveNumbered answers one request of each connection, and closes.
func serveNumbered(t *testing.T, answer func(asked) string) (url string) {
	var mu sync.Mutex
	n, same := 0, map[string]int{}
	return serveConnections(t, func(c net.Conn, r *bufio.Reader) {
		payload, ok := readBody(r)
		if !ok {
			return
		}
		mu.Lock()
		n++
		same[payload]++
		a := asked{n, same[payload], payload}
		mu.Unlock()
		_, _ = io.WriteString(c, answer(a))
	})
}

// TestAttackSentAsAsked: both engines send a path and a header's value as they are
// written.
func TestAttackSentAsAsked(t *testing.T) {
	const value = "größer 5 €"
	paths := []string{"/", "/?", "/a/../b", "/a%2e%2e/b", "/%7euser", "//x", "/a%2fb", "/?q=%zz", `/a;b?c=d|e{f}&g="h"`}
	for name, fire := range both(t) {
		var got string
		url := serveConnections(t, func(c net.Conn, r *bufio.Reader) {
			line, _ := r.ReadString('\n')
			got, _, _ = strings.Cut(line, " HTTP/1.1")
			header, err := textproto.NewReader(r).ReadMIMEHeader()
			if length, _ := strconv.Atoi(header.Get("Content-Length")); length > 0 {
				_, err = r.Discard(length)
			}
			if err == nil && header.Get("X-Price") == value && slices.Equal(header["X-Empty"], []string{""}) {
				_, _ = io.WriteString(c, text("ok"))
			}
		})
		for i, path := range paths {
			request := get(path)
			request.Headers = map[string]string{"x-price": value, "x-empty": ""}
			if i%2 == 0 {
				request.Method, request.JSON = "POST", []byte("{}")
			}
			r := fire(t, load.Job{URL: url, Request: request, Load: modes(1, false)[0]})
			if want := request.Method + " " + path; r.Replies != 1 || got != want {
				t.Errorf("%s: %q was sent as %q; errors %v", name, want, got, r.FirstErrors)
			}
		}
	}
}
