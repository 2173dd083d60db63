package docker

import (
	"strings"
	"testing"
)

// TestFault31EngineElsewhere: an engine of another machine publishes ports
// where the client cannot reach them. It is refused by its address, before it
// is asked.
func TestFault31EngineElsewhere(t *testing.T) {
	for host, here := range map[string]bool{
		"unix:///run/docker.sock":   true,
		"tcp://127.0.0.1:1":         true,
		"tcp://127.8.0.1:1":         true,
		"tcp://localhost:1":         true,
		"tcp://[::1]:1":             true,
		"tcp://192.0.2.1:2375":      false,
		"tcp://docker:2375":         false,
		"https://engine.example:1":  false,
		"tcp://[2001:db8::1]:1":     false,
		"tcp://localhost.example:1": false,
		"tcp://127.0.0.1.example:1": false,
	} {
		if got := reachesHere(host); got != here {
			t.Errorf("%s: here %v, want %v", host, got, here)
		}
	}
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = r.Check(t.Context())
	for _, part := range []string{"tcp://192.0.2.1:2375 is on another machine", "run stackmeter there", "unset DOCKER_HOST"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q", err, part)
		}
	}
}
