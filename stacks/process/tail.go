//go:build linux

package process

import (
	"bytes"
	"io"
	"sync"

	"stackmeter/stacks"
)

// What Logs keeps of each service's output, as the other runtimes do.
const (
	tailLines = 40
	tailBytes = 16 << 10
)

// A tail keeps the end of what a service writes, bounded, in memory: output
// of any length takes no disk.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// follow reads until the last process that could write is gone.
func (t *tail) follow(r io.Reader) {
	buf := make([]byte, 8<<10)
	for {
		n, err := r.Read(buf)
		_, _ = t.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if extra := len(t.text) - tailBytes - 1; extra > 0 { // see stacks.Tail
		t.text = append(t.text[:0], t.text[extra:]...)
	}
	return len(p), nil
}

// lines are the last lines, without their ends.
func (t *tail) lines() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := bytes.TrimRight(stacks.Tail(t.text, tailBytes), "\r\n")
	if len(text) == 0 {
		return nil
	}
	lines := bytes.Split(bytes.Clone(text), []byte("\n"))
	return lines[max(0, len(lines)-tailLines):]
}

// contains reports whether the end has a text in it.
func (t *tail) contains(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.text, []byte(text))
}
