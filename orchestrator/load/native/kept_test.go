//go:build linux

package native

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A server that reads a request on a kept connection and dies over it is an
// error: only what was never read is sent again.
func TestDeathOnKeptConnection(t *testing.T) {
	s := startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
		if readRequest(r) {
			_, _ = io.WriteString(c, ok)
		}
		readRequest(r)
	})
	for name, l := range modes(20, true) {
		t.Run(name, func(t *testing.T) {
			r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: l})
			if r.Replies+r.Errors != 20 || r.ErrorKinds[load.ErrReset] != r.Errors || r.Errors < 5 || r.Retries != 0 {
				t.Errorf("%d replies, errors %v, %d retries; want as many resets as connections, and no retries", r.Replies, r.ErrorKinds, r.Retries)
			}
		})
	}
}

// What a server does to an idle connection is seen before it is used again: its
// end, with a 408 or without, costs a new one, and an answer that nobody asked for is
// not taken for the next request's.
func TestIdleConnection(t *testing.T) {
	spaced := scenarios.LoadSpec{
		Requests: 4, Client: scenarios.ClientOpen, Pool: 1, KeepAlive: true, Rate: 20, Arrivals: scenarios.ArrivalsConstant,
	}
	cases := map[string]struct {
		after           string // sent soon after each answer
		closes          bool
		replies, errors int
		retries         int
	}{
		"stays":           {"", false, 4, 0, 0},
		"closes":          {"", true, 4, 0, 3},
		"408":             {"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", true, 4, 0, 3},
		"one answer more": {ok, false, 2, 2, 0}, // an error closes, and the next request has a new connection
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, conn *net.TCPConn, r *bufio.Reader) {
				for readRequest(r) {
					_, _ = io.WriteString(conn, ok)
					time.Sleep(5 * time.Millisecond)
					_, _ = io.WriteString(conn, c.after)
					if c.closes {
						return
					}
				}
			})
			r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: spaced})
			if r.Replies != c.replies || r.Errors != c.errors || r.ErrorKinds[load.ErrProtocol] != c.errors || r.Retries != c.retries {
				t.Errorf("%d replies, errors %v, %d retries; want %d, %d of protocol, %d",
					r.Replies, r.FirstErrors, r.Retries, c.replies, c.errors, c.retries)
			}
		})
	}
}
