package show

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// defaultMax is what a Tail keeps if nothing else is said: a traceback, whose
// end says most.
const defaultMax = 4 << 10

// A Tail is a writer that keeps the end of what is written, in whole lines. A
// line whose beginning was dropped is left out: what is left of a secret in it
// could not be recognised. Its methods may be called at the same time.
type Tail struct {
	Max  int                    // bytes kept at most; 0: 4 KiB
	Drop func(line string) bool // says which lines are not kept; nil: all are

	mu   sync.Mutex
	text []byte // one byte more than max shows whether a line begins there
	seen int    // where the first line begins about which Drop has not been asked
}

func (t *Tail) max() int {
	if t.Max > 0 {
		return t.Max
	}
	return defaultMax
}

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	for t.Drop != nil {
		end := bytes.IndexByte(t.text[t.seen:], '\n')
		if end < 0 {
			break
		}
		if next := t.seen + end + 1; t.Drop(string(t.text[t.seen:next])) {
			t.text = slices.Delete(t.text, t.seen, next)
		} else {
			t.seen = next
		}
	}
	if extra := len(t.text) - t.max() - 1; extra > 0 {
		t.text, t.seen = slices.Delete(t.text, 0, extra), max(0, t.seen-extra)
	}
	return len(p), nil
}

// String is what was kept, as valid UTF-8 without the space around it. Where
// the last line alone is longer than Max, it says that.
func (t *Tail) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(t.kept(), "?"))
}

// Lines are the last n lines that were kept, byte for byte.
func (t *Tail) Lines(n int) []string { return lastLines(t.kept(), n) }

func (t *Tail) kept() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.text
	if len(text) > t.max() {
		if _, text, _ = bytes.Cut(text, []byte("\n")); len(text) == 0 {
			return fmt.Sprintf("(a line of more than %d bytes)", t.max())
		}
	}
	return string(text)
}

// Contains reports whether a text is in what was kept.
func (t *Tail) Contains(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.text, []byte(text))
}

const (
	// LineWidth is how many characters of one line of foreign text a report shows.
	LineWidth = 200

	logLines = 20
)

// LogEnd is the end of a log as reports show it: its last 20 lines, cleaned,
// none wider than LineWidth.
func LogEnd(log string) []string {
	lines := lastLines(log, logLines)
	for i, line := range lines {
		lines[i] = Shorten(Line(line), LineWidth)
	}
	return lines
}

// lastLines are the last n lines of a text, without their ends and without
// the empty lines after them.
func lastLines(text string, n int) []string {
	text = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\r\n ")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):]
}
