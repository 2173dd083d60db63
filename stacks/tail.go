package stacks

import (
	"bytes"
	"fmt"
)

// Tail is the end of a log: at most so many bytes, from the start of a line
// on. The line that they would begin within is left out, because what is left
// of a secret in it could not be told from other text. Whoever drops the
// beginning of a log before has to keep one byte more than most.
func Tail(log []byte, most int) []byte {
	if len(log) <= most {
		return log
	}
	_, lines, _ := bytes.Cut(log[len(log)-most-1:], []byte("\n"))
	if len(lines) == 0 {
		return fmt.Appendf(nil, "(a line of more than %d bytes)", most)
	}
	return lines
}
