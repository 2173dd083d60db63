package docker

import (
	"bufio"
	"io"
	"testing"
)

// waitFor reads lines until one is as wanted.
func waitFor(t *testing.T, r io.Reader, want string) {
	t.Helper()
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line == want {
			go io.Copy(io.Discard, lines)
			return
		}
		if err != nil {
			t.Fatalf("it ended before it said %q: %v", want, err)
		}
	}
}
