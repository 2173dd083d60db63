package load

import (
	"errors"
	"fmt"
	"strings"

	"stackmeter/scenarios/show"
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

// maxMessage bounds a kept message, in characters.
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
// keep: one line, printable, and not too long.
func clean(message string) string {
	return show.Shorten(show.Columns(strings.TrimSpace(message)), maxMessage)
}
