package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/client"

	"stackmeter/stacks"
)

// Limits are how long the engine may take to answer. Every call has one, so that
// an engine that hangs does not hang the run. The zero value is the defaults.
type Limits struct {
	Call  time.Duration // of any call but those below; 0: 30 s
	Start time.Duration // of making, starting or removing a container, which may wait for the disk or the toolkit; 0: four times Call

	// Pulling and building take as long as they take. Only the engine's silence
	// has a limit.
	Pull  time.Duration // 0: 10 min
	Build time.Duration // 0: 1 h; a step that compiles may say nothing until it is done
}

const (
	callTimeout  = 30 * time.Second
	pullSilence  = 10 * time.Minute
	buildSilence = time.Hour
)

func (l Limits) call() time.Duration  { return cmp.Or(l.Call, callTimeout) }
func (l Limits) start() time.Duration { return cmp.Or(l.Start, 4*l.call()) }
func (l Limits) pull() time.Duration  { return cmp.Or(l.Pull, pullSilence) }
func (l Limits) build() time.Duration { return cmp.Or(l.Build, buildSilence) }

// whileHeard returns a context that ends when heard has not been called for as long
// as silence.
func whileHeard(ctx context.Context, silence time.Duration) (_ context.Context, heard func(), cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(silence, func() { end(&silentError{silence}) })
	return ctx, func() { timer.Reset(silence) }, func() {
		timer.Stop()
		end(nil)
	}
}

// A silentError says that the engine began to answer and then stopped.
type silentError struct{ silence time.Duration }

func (e *silentError) Error() string { return fmt.Sprintf("it has said nothing for %v", e.silence) }
func (e *silentError) Unwrap() error { return context.DeadlineExceeded }

// connect makes a client of the engine that DOCKER_HOST and its companions name.
// Its errors say when the engine did not answer, and which call.
func connect() (*client.Client, *waiting, error) {
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation(), streamDeadlines)
	if err != nil {
		return nil, nil, err
	}
	named := api.HTTPClient()
	waiting := &waiting{calls: map[*call]bool{}}
	named.Transport = namingTransport{named.Transport, waiting}
	if err := client.WithHTTPClient(named)(api); err != nil {
		return nil, nil, err
	}
	return api, waiting, nil
}

// streamDeadlines is an option of the client. For a stream of a container's output
// the client dials a connection of its own, and waits for the engine's answer
// without regard to ctx. Such a connection gets the deadline of ctx; connections
// of other calls are dialled without one.
func streamDeadlines(api *client.Client) error {
	transport, ok := api.HTTPClient().Transport.(*http.Transport)
	if !ok || transport.DialContext == nil {
		return nil
	}
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if deadline, ok := ctx.Deadline(); ok && err == nil {
			err = conn.SetDeadline(deadline)
		}
		return conn, err
	}
	return nil
}

// A namingTransport names the call in the error of a call that was not answered in
// time.
type namingTransport struct {
	http.RoundTripper
	waiting *waiting
}

// waiting are the calls whose answer has not begun.
type waiting struct {
	mu    sync.Mutex
	calls map[*call]bool
}

type call struct {
	name  string // a method and a path, as the API documents them
	since time.Time
}

// Waiting lists the calls that the engine has not answered yet, and for how long.
func (r *Runtime) Waiting() []string {
	r.waiting.mu.Lock()
	defer r.waiting.mu.Unlock()
	var list []string
	for c := range r.waiting.calls {
		// These wait for a container's end on purpose.
		if !strings.HasSuffix(c.name, "/wait") {
			list = append(list, fmt.Sprintf("%s for %v", c.name, time.Since(c.since).Round(time.Second/10)))
		}
	}
	slices.Sort(list)
	return list
}

// begin is called before a call. The function that it returns adds the call's name
// to the error of a deadline.
func (w *waiting) begin(name string) (named func(error) error, end func()) {
	c := &call{name, time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[c] = true
	named = func(err error) error {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return &unansweredError{call: name, after: time.Since(c.since), err: err}
	}
	return named, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.calls, c)
	}
}

// stream makes a call whose answer is a stream, which bypasses the transport.
func (r *Runtime) stream(name string, do func() (types.HijackedResponse, error)) (types.HijackedResponse, error) {
	named, end := r.waiting.begin(name)
	defer end()
	conn, err := do()
	return conn, named(err)
}

func (t namingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	name, end := t.waiting.begin(req.Method + " " + versionPrefix.ReplaceAllString(req.URL.Path, ""))
	resp, err := t.RoundTripper.RoundTrip(req)
	end()
	if err != nil {
		return nil, name(err)
	}
	resp.Body = namingBody{resp.Body, name}
	return resp, nil
}

type namingBody struct {
	io.ReadCloser
	name func(error) error
}

func (b namingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = b.name(err)
	}
	return n, err
}

var versionPrefix = regexp.MustCompile(`^/v[0-9.]+`)

// An unansweredError says that the engine did not answer a call in time.
type unansweredError struct {
	call  string
	after time.Duration
	err   error
}

func (e *unansweredError) Error() string {
	var silent *silentError
	if errors.As(e.err, &silent) {
		return fmt.Sprintf("the engine has said nothing of %s for %v", e.call, silent.silence)
	}
	if e.after < time.Second/20 {
		return "there was no time left for the engine to answer " + e.call
	}
	return fmt.Sprintf("the engine did not answer %s within %v", e.call, e.after.Round(time.Second/10))
}

func (e *unansweredError) Unwrap() error { return e.err }

// lost marks an error as stacks.ErrLost if the engine does not answer or is not
// there, and shortens the client's words.
func lost(err error) error {
	var call *unansweredError
	switch {
	case err == nil, errors.Is(err, stacks.ErrLost):
		return err
	case errors.As(err, &call):
		text := err.Error()
		var u *url.Error
		if errors.As(err, &u) {
			text = strings.ReplaceAll(text, u.Error(), call.Error())
		}
		return &lostError{text, err}
	case client.IsErrConnectionFailed(err):
		return &lostError{err.Error(), err}
	}
	return err
}

type lostError struct {
	text string
	err  error
}

func (e *lostError) Error() string   { return e.text }
func (e *lostError) Unwrap() []error { return []error{stacks.ErrLost, e.err} }
