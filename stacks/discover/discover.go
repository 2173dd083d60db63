// Package discover finds out how an app that nobody has described is served: what it
// calls its callable, which servers its image has, where it listens, what it answers and
// how many requests at once it is worth sending it.
//
// It looks at stacks that a runtime starts: at the image's own command first, and then at
// the app behind a server of package servers.
package discover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	_ "embed"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// A Runtime starts stacks, and knows what images say of themselves.
type Runtime interface {
	stacks.Runtime

	// Declared is what the image of a service says of itself, which Prepare has found or
	// made.
	Declared(ctx context.Context, s stacks.Service) (stacks.Declared, error)
}

// Inside is what was seen in a container of the image, and what the image says of itself.
type Inside struct {
	WSGI, ASGI string   // module:callable, or a factory with (); empty: none was found
	From       string   // where it was found, in words
	Others     []string // callables that were found besides
	Servers    []string // programs that could serve it, by their names in scenarios
	Port       int      // that it listens on; 0: on none
	PortFrom   string   // how that is known, in words
	Alone      bool     // it listens where nobody else reaches it, at 127.0.0.1
	Flask      bool     // the callable is Flask's, as far as is seen
	Python     bool     // the image has one: without it the files are not looked at
	Routes     []Route  // that the code has
	Fields     []string // of forms, from which the code reads files
	Health     string   // the path that the image's health check asks; empty: none
	Command    []string // the image's own
	Ended      error    // how its own command ended before it listened; nil: it did not

	// What its labels say: stackmeter.NAME, and the title as NAME "name".
	Labels map[string]string
}

// A Route is a path that the code answers.
type Route struct {
	Path    string
	Methods []string
}

func (r Route) takes(method string) bool { return slices.Contains(r.Methods, method) }

//go:embed look.py
var look string

// found is what look.py prints.
type found struct {
	Servers   []string
	Callables []struct {
		Name string // module:callable
		Kind string // wsgi, asgi, or flask, which is WSGI, too
		File string
	}
	Routes []Route
	Fields []string
}

// Look starts the image's own command and looks at what it is, until it listens, or for
// the patience. The spec has one service, without a command, which was prepared. Where
// the command ends at once, as a shell does, Look looks at the files beside a Python
// that sleeps. What is missing from the answer was not found.
func Look(ctx context.Context, runtime Runtime, spec stacks.Spec, patience time.Duration) (in Inside, err error) {
	declared, err := runtime.Declared(ctx, spec.Services[0])
	if err != nil {
		return in, err
	}
	in.declare(declared)
	if in.Ended, err = in.lookAt(ctx, runtime, spec, declared, patience); in.Ended == nil || err != nil {
		return in, err
	}
	spec.Services = slices.Clone(spec.Services)
	spec.Services[0].Command = []string{"python3", "-c", "import time; time.sleep(3600)"}
	ended, err := in.lookAt(ctx, runtime, spec, declared, 0)
	if ctx.Err() != nil {
		return in, context.Cause(ctx)
	}
	if ended != nil || err != nil { // there is no Python either
		return in, fmt.Errorf("the image's own command: %w", in.Ended)
	}
	return in, nil
}

// lookAt starts a stack and looks at it. ended says how its command ended before it
// listened.
func (in *Inside) lookAt(ctx context.Context, runtime Runtime, spec stacks.Spec, declared stacks.Declared, patience time.Duration) (ended, err error) {
	stack, err := runtime.Start(ctx, spec)
	if err != nil {
		return endedAtOnce(err)
	}
	defer func() { err = errors.Join(err, stop(ctx, stack)) }()
	service := spec.Services[0].Name
	if patience > 0 {
		if err := in.listens(ctx, stack, service, patience); errors.Is(err, stacks.ErrEnded) {
			var printed strings.Builder
			_ = stack.Logs(ctx, &printed)
			return fmt.Errorf("%w\n%s", err, strings.TrimSpace(show.Clean(printed.String()))), nil
		} else if err != nil {
			return nil, err
		}
	}
	facts, err := stack.Inspect(ctx)
	if err != nil {
		return nil, err
	}
	seen := found{}
	switch out, failed := stack.Exec(ctx, service, "python3", "-I", "-c", look); {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case failed == nil:
		in.Python = true
		if err := json.Unmarshal(out, &seen); err != nil {
			return nil, fmt.Errorf("look into the image: %w", err)
		}
	}
	in.Servers, in.Routes, in.Fields = seen.Servers, seen.Routes, seen.Fields
	if err := in.port(declared); err != nil {
		return nil, err
	}
	in.callable(facts, declared, seen)
	for _, c := range seen.Callables {
		in.Flask = in.Flask || c.Kind == "flask" && c.Name == in.WSGI
	}
	return nil, nil
}

// endedAtOnce tells a command that ended, or cannot be run, from a start that failed for
// another reason.
func endedAtOnce(err error) (ended, failed error) {
	var start *stacks.StartError
	if errors.Is(err, stacks.ErrEnded) || errors.As(err, &start) {
		return err, nil
	}
	return nil, err
}

// stop stops a stack even if ctx has ended.
func stop(ctx context.Context, stack stacks.Stack) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return stack.Stop(ctx)
}

// listens waits until the service listens: where others than itself can reach it, if there
// is such a port. It is no error that it does not.
func (in *Inside) listens(ctx context.Context, stack stacks.Stack, service string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		if err := stack.Check(ctx); err != nil {
			return err
		}
		_, at, err := stack.Listening(ctx, service)
		if err != nil {
			return err
		}
		slices.SortFunc(at, func(a, b netip.AddrPort) int {
			if a.Addr().IsLoopback() != b.Addr().IsLoopback() {
				if b.Addr().IsLoopback() {
					return -1
				}
				return 1
			}
			return int(a.Port()) - int(b.Port())
		})
		if len(at) > 0 {
			in.Port, in.PortFrom, in.Alone = int(at[0].Port()), "the image's own command listens there", at[0].Addr().IsLoopback()
			return nil
		}
		if time.Now().After(deadline) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
