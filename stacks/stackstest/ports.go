package stackstest

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"stackmeter/stacks"
)

// NoFixedPorts starts stacks of the same topology side by side while the
// ports that their presets name are taken on this machine: each of them
// answers, at an address of its own.
func NoFixedPorts(t *testing.T, bench Bench) {
	for _, address := range []string{"127.0.0.1:8000", "127.0.0.1:8080", "127.0.0.1:80"} {
		taken, err := net.Listen("tcp", address)
		if err == nil {
			defer taken.Close()
		} else if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			t.Fatal(err)
		}
	}
	s := &suite{bench}
	urls := map[string]bool{}
	var running []stacks.Stack
	for range 3 {
		_, stack := s.start(t, Nginx, nil) // it stays until the test ends
		running = append(running, stack)
		urls[stack.URL()] = true
	}
	for _, stack := range running {
		get(t, stack, "/")
	}
	if len(urls) != len(running) {
		t.Errorf("%d stacks at %v", len(running), urls)
	}
}
