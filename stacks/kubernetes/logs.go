package kubernetes

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"time"
)

// untimed copies a log whose lines begin with the time, without that, and returns the
// time of the last line.
func untimed(to io.Writer, from io.Reader) (last time.Time, err error) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		stamp, text, found := strings.Cut(line, " ")
		at, wrong := time.Parse(time.RFC3339Nano, stamp)
		if !found || wrong != nil {
			text = line
		} else {
			last = at
		}
		if _, failed := io.WriteString(to, text); failed != nil {
			return last, failed
		}
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
	}
}
