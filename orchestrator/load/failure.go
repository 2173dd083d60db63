package load

import (
	"errors"
	"fmt"
	"strings"

	"stackmeter/scenarios/show"
)

// A Failure is why a request has no reply: one of the kinds, and a message
// for people.
type Failure struct {
	Kind    string
	Message string
}

func (f *Failure) Error() string { return f.Kind + ": " + f.Message }

// Failed is a Failure with a formatted message.
func Failed(kind, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// maxMessage bounds a kept message, in characters.
const maxMessage = 300

// Failures counts failures by kind and keeps the first message of each.
type Failures struct {
	Kinds    map[string]int
	Messages map[string]string
}

// Add counts one error: a Failure, or else one of the kind protocol.
func (t *Failures) Add(err error) {
	kind, message := ErrProtocol, err.Error()
	if f := (*Failure)(nil); errors.As(err, &f) {
		kind, message = f.Kind, f.Message
	}
	t.Merge(map[string]int{kind: 1}, map[string]string{kind: clean(message)})
}

// Merge adds what was counted elsewhere.
func (t *Failures) Merge(kinds map[string]int, messages map[string]string) {
	for kind, n := range kinds {
		if t.Kinds == nil {
			t.Kinds, t.Messages = map[string]int{}, map[string]string{}
		}
		t.Kinds[kind] += n
		if _, ok := t.Messages[kind]; !ok {
			t.Messages[kind] = messages[kind]
		}
	}
}

// clean makes a message that a server had a hand in safe to print and to
// keep: one line, printable, and not too long.
func clean(message string) string {
	return show.Shorten(show.Columns(strings.TrimSpace(message)), maxMessage)
}
