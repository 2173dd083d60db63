//go:build linux

package native

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Cores of the benchmarks that compare clients. The server has one to itself, and so
// has each client in its turn.
const (
	serverCore = 0
	clientCore = 1
)

// nginxConfig is one nginx worker that answers a GET and a POST alike, and a POST only
// after it has read the whole body. mirror reads it, and index, which takes a POST,
// leads to the answer. A plain `return 200` would answer at once.
const nginxConfig = `
daemon off; master_process off; worker_processes 1;
pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
	access_log off; keepalive_requests 1000000000;
	client_max_body_size 1m; client_body_buffer_size 256k; client_body_temp_path %[1]s;
	proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server {
		listen %[2]s;
		location / { mirror /nothing; mirror_request_body on; index /answer; }
		location = /nothing { internal; return 204; }
		location = /answer { return 200 "hello, world\n"; }
	}
}
`

// startNginx starts Debian's nginx on a core of its own until the benchmark
// ends, and gives its address.
func startNginx(b *testing.B) string {
	b.Helper()
	program := needed(b, "nginx", "nginx-light")
	address := freeAddress(b)
	folder := b.TempDir()
	config := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, folder, address), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(program, "-c", config)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	pinProcess(b, cmd.Process.Pid, serverCore)
	for range 1000 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			readsBodyFirst(b, address)
			return address
		}
		time.Sleep(5 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(folder, "error.log"))
	b.Fatalf("nginx does not listen on %s: %s", address, log)
	return ""
}

// readsBodyFirst makes sure that the server answers only once it has the whole body,
// since the clients that are compared have to send it.
func readsBodyFirst(b *testing.B, address string) {
	b.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	const half = 50 << 10
	if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", 2*half); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Write(make([]byte, half)); err != nil {
		b.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == io.EOF {
		b.Fatal("the server answers before it has read the body")
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(make([]byte, half)); err != nil {
		b.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 1 {
		b.Fatalf("the server does not answer: %v", err)
	}
}

// freeAddress is an address on loopback that nobody listened on a moment ago.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// needed finds a program that a benchmark compares with.
func needed(b *testing.B, program, debianPackage string) string {
	b.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		b.Skipf("%s is not there; install Debian's package %s", program, debianPackage)
	}
	return path
}

func pinProcess(t testing.TB, pid, core int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(pid, &set); err != nil {
		t.Fatalf("hold process %d to core %d: %v", pid, core, err)
	}
}
