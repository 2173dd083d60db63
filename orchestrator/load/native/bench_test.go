//go:build linux

package native

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// benchmarkBatch fires batches of b.N requests at a raw server of this process
// and reports requests per second and the client's CPU time per request.
func benchmarkBatch(b *testing.B, request wire.Request) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	blank := []byte("\r\n\r\n")
	s := startRaw(b, "tcp", "127.0.0.1:0", func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
		in := make([]byte, 128<<10)
		for left := 0; ; {
			n, err := c.Read(in)
			if err != nil {
				return
			}
			got := in[:n]
			if left == 0 {
				end := bytes.Index(got, blank)
				if end < 0 {
					return // a head in pieces, which no client here sends
				}
				if i := bytes.Index(got[:end], []byte("Content-Length: ")); i >= 0 {
					_, _ = fmt.Sscanf(string(got[i:end]), "Content-Length: %d", &left)
				}
				got = got[end+len(blank):]
			}
			if left -= len(got); left > 0 {
				continue
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	for _, keepAlive := range []bool{true, false} {
		for _, client := range []string{scenarios.ClientMT, scenarios.ClientMP} {
			for _, pool := range []int{1, 10, 50} {
				l := scenarios.LoadSpec{Client: client, Pool: pool, KeepAlive: keepAlive}
				connections := "new"
				if keepAlive {
					connections = "keepalive"
				}
				b.Run(fmt.Sprintf("%s/%s", connections, l.Mode()), func(b *testing.B) {
					l.Requests = b.N
					batch, err := (&Client{}).prepareBatch(b.Context(), load.Job{URL: s.url, Request: request, Load: l})
					if err != nil {
						b.Fatal(err)
					}
					defer batch.Close()
					b.ResetTimer()
					r, err := batch.Fire(b.Context())
					b.StopTimer()
					if err != nil || r.Errors > 0 {
						b.Fatalf("%v, errors %v", err, r.FirstErrors)
					}
					b.ReportMetric(float64(r.Replies)/r.Duration.Seconds(), "requests/s")
					b.ReportMetric(r.CPU.Seconds()*1e6/float64(r.Replies), "client-µs/request")
					b.ReportMetric(r.Little, "little")
				})
			}
		}
	}
}

func BenchmarkGet(b *testing.B) { benchmarkBatch(b, get("/")) }

func BenchmarkPost100K(b *testing.B) {
	file := b.TempDir() + "/body.bin"
	if err := os.WriteFile(file, bytes.Repeat([]byte{'x'}, 100<<10), 0o600); err != nil {
		b.Fatal(err)
	}
	request := get("/")
	request.Method, request.Body = "POST", &wire.Body{Files: []string{file}}
	benchmarkBatch(b, request)
}

// BenchmarkPrepare is the time before the gun: it builds a dozen requests and starts
// the processes of mp.
func BenchmarkPrepare(b *testing.B) {
	for _, pool := range []int{1, 20} {
		l := scenarios.LoadSpec{Requests: 100, Client: scenarios.ClientMP, Pool: pool}
		b.Run(l.Mode(), func(b *testing.B) {
			for b.Loop() {
				batch, err := (&Client{}).prepareBatch(b.Context(), load.Job{URL: "http://127.0.0.1:9", Request: get("/"), Load: l})
				if err != nil {
					b.Fatal(err)
				}
				if err := batch.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAnswer is the parser alone.
func BenchmarkAnswer(b *testing.B) {
	text := []byte("HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n" +
		"Connection: close\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n01234567890123456789")
	r := bytes.NewReader(text)
	a := newAnswerReader(r.Read, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Seek(0, io.SeekStart)
		a.begin(true)
		if _, err := a.next("GET"); err != nil {
			b.Fatal(err)
		}
	}
}
