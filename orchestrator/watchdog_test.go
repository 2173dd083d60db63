package orchestrator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/stacks/docker"
)

// TestWatchdog takes the deadlines away: a call to the engine hangs for good,
// within a step that does not look at its context.
func TestWatchdog(t *testing.T) {
	b, p := newHangBench(t)
	b.Runtime.(*docker.Runtime).Limits = docker.Limits{Call: time.Hour, Start: time.Hour}
	b.StepLimit = 5 * time.Second
	var stuck []string
	b.onEvent = func(e orchestrator.Event) {
		switch e.Kind {
		case orchestrator.EventStart:
			p.hangs("POST .*/containers/create", 1<<30)
		case orchestrator.EventStuck:
			stuck = append(stuck, e.Message)
		}
	}
	records, err := b.execute(t.Context(), b.plan(hangScenario))
	if !errors.Is(err, orchestrator.ErrStuck) || len(records) > 0 {
		t.Fatalf("%v; %d records", err, len(records))
	}
	for _, text := range append(stuck, err.Error()) {
		for _, part := range []string{"stuck: ", "start nginx+gunicorn-w1-t1, for ", "the engine has not answered POST /containers/create for "} {
			if !strings.Contains(text, part) {
				t.Errorf("it does not say %q: %s", part, text)
			}
		}
	}
	if len(stuck) != 1 {
		t.Errorf("told %d times", len(stuck))
	}
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
