package orchestrator_test

import (
	"context"
	"errors"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/stacks/process"
	"stackmeter/stacks/stackstest"
)

// TestRunLeavesNothingInThisProcess measures, fails and is cancelled, and then
// looks what this process still has of it. A night is one process.
func TestRunLeavesNothingInThisProcess(t *testing.T) {
	for _, runtime := range []string{"docker", process.Name} {
		t.Run(runtime, func(t *testing.T) {
			stackstest.NoLeaks(t)
			b := newBench(t)
			if runtime == process.Name {
				b.local()
			}
			execute := func(ctx context.Context, name, text string) (map[string]results.Record, error) {
				b.run = t.Name() + "-" + name
				records, err := b.execute(ctx, b.plan(text))
				if removed, err := b.Runtime.Sweep(t.Context(), b.run); err != nil || len(removed) > 0 {
					t.Errorf("%s: left behind: %v, %v", name, removed, err)
				}
				return records, err
			}

			records, err := execute(t.Context(), "measured", `
request: {path: /}
topologies: [flask, nginx + gunicorn w1/t2, {name: ends, command: [python3, -c, "raise SystemExit(3)"]}]
matrix: {requests: [8], client: [single, mt, mp], pool: [2]}
`)
			if err != nil {
				t.Error(err)
			}
			status := map[string]int{}
			for _, r := range records {
				status[r.Topology.Name+" "+r.Status]++
			}
			if status["flask ok"] != 3 || status["nginx+gunicorn-w1-t2 ok"] != 3 || status["ends failed"] != 3 {
				t.Errorf("%v", status)
			}

			records, err = execute(t.Context(), "crashes", `
request: {path: "/exit-at?n=20"}
warmup: 1
topologies: [flask]
matrix: {requests: [100], client: [mp], pool: [2]}
`)
			if r := records["flask/mp2/n100"]; err != nil || r.Status != results.StatusFailed {
				t.Errorf("%v, %s %s", err, r.Status, r.Reason)
			}

			for _, moment := range []string{orchestrator.EventStart, orchestrator.EventReady, orchestrator.EventProgress, orchestrator.EventStop} {
				ctx, cancel := context.WithCancelCause(t.Context())
				enough := errors.New("cancelled by the test")
				b.onEvent = func(e orchestrator.Event) {
					if e.Kind == moment {
						cancel(enough)
					}
				}
				_, err := execute(ctx, "cancelled-"+moment, `
request: {path: "/sleep?s=0.02"}
topologies: [nginx + gunicorn w1/t2]
repeats: 2
matrix: {requests: [50], client: [mp], pool: [2]}
`)
				if !errors.Is(err, enough) {
					t.Errorf("cancelled at %s: %v", moment, err)
				}
			}
		})
	}
}
