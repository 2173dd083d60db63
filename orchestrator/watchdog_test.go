package orchestrator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load/python"
	"stackmeter/stacks/docker"
)

// TestWatchdog takes the deadlines away: a call to the engine hangs for good,
// within a step that does not look at its context.
func TestWatchdog(t *testing.T) {
	for _, test := range []struct {
		name   string
		calls  string // that hang
		step   string
		said   string
		beside bool // the load client is in a container
	}{
		{"a stack", "POST .*/containers/create", "start nginx+gunicorn-w1-t1-unix", "POST /containers/create", false},
		{"the load client", "POST .*/attach", "wait until it is ready, the same and warm: nginx+gunicorn-w1-t1-unix", "POST /containers/", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, p := newHangBench(t)
			engine := b.Runtime.(*docker.Runtime)
			engine.Limits = docker.Limits{Call: time.Hour, Start: time.Hour}
			if test.beside {
				if _, err := engine.ClientImage(t.Context(), func(string) {}); err != nil {
					t.Fatal(err)
				}
				b.Client = &python.Client{Launcher: beside{engine}}
			}
			b.StepLimit = 20 * time.Second // a busy engine takes some seconds for a start that it makes
			var stuck []string
			b.onEvent = func(e orchestrator.Event) {
				switch e.Kind {
				case orchestrator.EventStart:
					p.hangs(test.calls, 1<<30)
				case orchestrator.EventStuck:
					stuck = append(stuck, e.Message)
				}
			}
			records, err := b.execute(t.Context(), b.plan(hangScenario))
			if !errors.Is(err, orchestrator.ErrStuck) || len(records) > 0 {
				t.Fatalf("%v; %d records", err, len(records))
			}
			for _, text := range append(stuck, err.Error()) {
				for _, part := range []string{"stuck: ", test.step + ", for ", "the engine has not answered " + test.said} {
					if !strings.Contains(text, part) {
						t.Errorf("it does not say %q: %s", part, text)
					}
				}
			}
			if len(stuck) != 1 {
				t.Errorf("told %d times", len(stuck))
			}
		})
	}
}

// beside starts Python's client as the command does: in a container beside the
// stack.
type beside struct{ engine *docker.Runtime }

func (b beside) Image(ctx context.Context, progress func(string)) (string, error) {
	return b.engine.ClientImage(ctx, progress)
}

func (b beside) Launch(ctx context.Context, url string) (python.Process, error) {
	client, err := b.engine.RunClient(ctx, url, python.Argv("python3"))
	if err != nil {
		return nil, err // not a typed nil
	}
	return client, nil
}

// TestCancelledRunSaysWhere cancels a run within a cell.
func TestCancelledRunSaysWhere(t *testing.T) {
	b := newBench(t)
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(t.Context())
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventProgress && e.Done > 0 {
			cancel(late)
		}
	}
	_, err := b.execute(ctx, b.plan(`
request: {path: "/sleep?s=0.05"}
topologies: [flask]
matrix: {requests: [200], client: [single]}
`))
	if !errors.Is(err, late) || !strings.Contains(err.Error(), "it was at: measure flask/single/n200, for ") {
		t.Errorf("%v", err)
	}
}
