package load

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A failure is why a request has no reply: one of the kinds, and a message
// for people.
type failure struct {
	kind    string
	message string
}

func (f *failure) Error() string { return f.kind + ": " + f.message }

func failed(kind, format string, args ...any) *failure {
	return &failure{kind: kind, message: fmt.Sprintf(format, args...)}
}

// maxMessage bounds a kept message, in bytes.
const maxMessage = 300

// A tally counts failures by kind and keeps the first message of each.
type tally struct {
	kinds    map[string]int
	messages map[string]string
	total    int
}

func (t *tally) add(err error) {
	kind, message := ErrProtocol, err.Error()
	if f := (*failure)(nil); errors.As(err, &f) {
		kind, message = f.kind, f.message
	}
	t.merge(map[string]int{kind: 1}, map[string]string{kind: clean(message)})
}

func (t *tally) merge(kinds map[string]int, messages map[string]string) {
	for kind, n := range kinds {
		if t.kinds == nil {
			t.kinds, t.messages = map[string]int{}, map[string]string{}
		}
		t.kinds[kind] += n
		t.total += n
		if _, ok := t.messages[kind]; !ok {
			t.messages[kind] = messages[kind]
		}
	}
}

// clean makes a message that a server had a hand in safe to print and to
// keep: printable, and not too long.
func clean(message string) string {
	message = printable(message)
	if len(message) <= maxMessage {
		return message
	}
	const mark = "…"
	cut := maxMessage - len(mark)
	for !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + mark
}

// printable is text as one line of valid UTF-8 without control characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			return '?'
		}
		return r
	}, strings.TrimSpace(text))
}
