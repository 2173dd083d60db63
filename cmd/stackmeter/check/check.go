// Package check starts one stack, sends it one request and says what came of it, for
// who wants to know whether a scenario works before anything is measured.
package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// ErrFailed is the error of a stack that did not start or did not answer as the
// scenario expects. Any other error is the engine's, or the machine's.
var ErrFailed = errors.New("the check failed")

// stopLimit is how long the stack may take to be removed.
const stopLimit = time.Minute

// A Check is one stack and one request. Nothing of it is stored.
type Check struct {
	Runtime  stacks.Runtime // which has passed its own Check
	Run      string         // the id of the stack's labels, by which it can be swept
	Plan     scenarios.Plan
	Topology scenarios.Topology
	Out      io.Writer
	Progress func(line string) // of what takes its time
}

// Do starts the stack, looks at it, sends the request, and removes the stack, also
// when ctx ends.
func (c Check) Do(ctx context.Context) (failed error) {
	spec, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	c.Progress("start " + spec.Name)
	began := time.Now()
	stack, err := c.Runtime.Start(ctx, spec)
	if err != nil {
		printed := &stacks.StartError{}
		return c.why(ctx, "start "+spec.Name, err, errors.As(err, &printed) && c.say(printed.Log))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		failed = errors.Join(failed, stack.Stop(ctx))
	}()
	started := time.Now()
	err = stacks.WaitReady(ctx, spec, stack)
	if err == nil {
		var found servers.Facts
		if found, err = servers.Verify(ctx, spec, stack); err == nil {
			c.describe(found, started.Sub(began), time.Since(started))
			return c.ask(ctx, spec, stack)
		}
	}
	return c.why(ctx, spec.Name, err, c.logs(ctx, stack))
}

// prepare makes what the stack needs. As in a run, gpu.mode auto means that a GPU
// that cannot get into a stack is left out.
func (c Check) prepare(ctx context.Context) (stacks.Spec, error) {
	for {
		spec, err := servers.Expand(c.Run, c.Plan, c.Topology)
		if err == nil {
			err = c.Runtime.Prepare(ctx, spec, c.Progress)
		}
		if !errors.Is(err, stacks.ErrNoGPU) || c.Plan.Resources.GPU.Mode != scenarios.GPUAuto {
			return spec, err
		}
		c.Progress("no GPU is used: " + err.Error())
		c.Plan.Resources.GPU = scenarios.GPU{Mode: scenarios.GPUOff}
	}
}

// why is the error of a stack that does not do what it should. ctx may have ended
// meanwhile, and the engine may have gone away: that is not the stack's fault. printed
// says that the end of its output was shown.
func (c Check) why(ctx context.Context, what string, err error, printed bool) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, stacks.ErrLost), errors.Is(err, stacks.ErrUnavailable):
		return fmt.Errorf("%s: %w", what, err)
	}
	err = fmt.Errorf("%w: %s: %w", ErrFailed, what, err)
	if printed {
		err = fmt.Errorf("%w\nWhat it printed last is above", err)
	}
	return err
}

// describe prints what was read back.
func (c Check) describe(found servers.Facts, start, ready time.Duration) {
	t := c.Topology
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: started in %s, ready %s later\n", t.Name, seconds(start), seconds(ready))
	server := t.Server
	for _, one := range []struct {
		found *int
		noun  string
	}{{found.Workers, "worker"}, {found.Threads, "thread"}} {
		if one.found != nil {
			server += ", " + show.Plural(*one.found, one.noun)
		}
	}
	fmt.Fprintf(w, "  server\t%s\n", server)
	if found.Unread != "" {
		fmt.Fprintf(w, "  not read back\t%s\n", found.Unread)
	}
	for _, s := range found.Services {
		fmt.Fprintf(w, "  service %s\t%s, processes: %d\n", s.Service, cmp.Or(s.Digest, "no image"), len(s.Processes))
	}
	fmt.Fprintf(w, "  GPU\t%s\n  route\t%s\n", found.GPU, found.Route)
	_ = w.Flush() // into memory
	c.say(b.String())
}

// logs prints the end of what the stack printed, and says whether that is anything.
func (c Check) logs(ctx context.Context, stack stacks.Stack) bool {
	var printed bytes.Buffer
	if err := stack.Logs(ctx, &printed); err != nil {
		fmt.Fprintf(&printed, "(%v)\n", err)
	}
	return c.say(printed.String())
}

// say prints a text that others have written a part of, without secrets and control
// characters. It says whether anything is left.
func (c Check) say(text string) bool {
	text = strings.TrimRight(show.Clean(c.Plan.Scrubber(stacks.ProxySecrets()...)(text)), "\n")
	if text != "" {
		fmt.Fprintln(c.Out, text)
	}
	return text != ""
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
