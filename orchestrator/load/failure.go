package load

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"stackmeter/scenarios/show"
)

// Kinds of errors. They are few and fixed, so that they can be counted and
// compared. The first message of each kind is kept beside them.
const (
	ErrConnect   = "connect"   // no connection
	ErrTimeout   = "timeout"   // no whole answer within the request's time-out
	ErrReset     = "reset"     // the connection broke before the answer's first byte
	ErrTruncated = "truncated" // the connection broke within the answer, or its length was wrong
	ErrProtocol  = "protocol"  // not an HTTP answer, or too large
	ErrStatus    = "status"    // not the expected status
	ErrStream    = "stream"    // not a stream, or not the expected events
	ErrMismatch  = "mismatch"  // not the expected body, or not the body that answered the same request before
)

// A Failure is why a request has no reply: one of the kinds, and a message for
// people.
type Failure struct {
	Kind    string
	Message string
}

func (f *Failure) Error() string { return f.Kind + ": " + f.Message }

// Failed is a Failure with a formatted message.
func Failed(kind, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// A LocalError is why this machine cannot make a connection. A batch with one
// measures no server.
type LocalError syscall.Errno

// LocalErrorOf is the LocalError in an error of the system, or nil if that is about
// the network or the server.
func LocalErrorOf(err error) *LocalError {
	errno, _ := errors.AsType[syscall.Errno](err)
	if local := LocalError(errno); local.remedy() != "" {
		return &local
	}
	return nil
}

func (e LocalError) Error() string {
	return "the client's machine: " + syscall.Errno(e).Error() + "; " + e.remedy()
}

func (e LocalError) remedy() string {
	switch syscall.Errno(e) {
	case syscall.EADDRNOTAVAIL:
		return "closed connections keep their ports for a minute; keep connections alive, send fewer requests, or widen net.ipv4.ip_local_port_range"
	case syscall.EMFILE, syscall.ENFILE:
		return "raise the limit of open files (ulimit -n), or take fewer connections"
	case syscall.ENOBUFS, syscall.ENOMEM:
		return "it has no memory for another connection; take fewer"
	case syscall.EAFNOSUPPORT:
		return "turn IPv6 on, or use an IPv4 address"
	}
	return ""
}

// Failures counts failures by kind and keeps the first message of each kind.
type Failures struct {
	Kinds    map[string]int
	Messages map[string]string
}

// Add counts an error: a Failure by its kind, anything else as protocol.
func (t *Failures) Add(err error) {
	kind, message := ErrProtocol, err.Error()
	if f, is := errors.AsType[*Failure](err); is {
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

// maxMessage bounds a kept message, in characters.
const maxMessage = 300

// clean makes a message safe to print and to keep, since a server may have had a
// hand in it: one line, printable, and not too long.
func clean(message string) string {
	return show.Shorten(show.Columns(strings.TrimSpace(message)), maxMessage)
}
