package orchestrator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
)

// TestEngineGivesNoGPU claims a GPU that the engine cannot give to a
// container, whether it has NVIDIA's toolkit or not.
func TestEngineGivesNoGPU(t *testing.T) {
	const rest = `
topologies: [flask, gunicorn w1/t2]
matrix: {requests: [3], client: [single]}
`
	device := stacks.Device{UUID: "GPU-fa4e0000-0000-0000-0000-000000000000", Name: "FAKE GPU (no hardware)"}

	t.Run("auto", func(t *testing.T) {
		b := newBench(t)
		b.Runtime.(*docker.Runtime).Has([]stacks.Device{device}, "")
		records := b.mustExecute(b.plan("resources: {gpu: {mode: auto}}" + rest))
		for name, r := range records {
			if r.Status != results.StatusOK || !slices.Contains(r.Flags, results.FlagNoGPU) {
				t.Errorf("%s: %s, flags %v: %s", name, r.Status, r.Flags, r.Reason)
			}
			if r.GPU.Peak != nil || r.GPU.Reason == "" {
				t.Errorf("%s: a GPU's figures without a GPU: %+v", name, r.GPU)
			}
			if r.Stack == nil || !strings.HasPrefix(r.Stack.GPU, "none: ") || !strings.Contains(r.Stack.GPU, stacks.ErrNoGPU.Error()) {
				t.Errorf("%s: the record does not say why it had no GPU: %+v", name, r.Stack)
			}
		}
		said, started := -1, -1
		for i, e := range b.events {
			switch {
			case said < 0 && e.Kind == orchestrator.EventNote && strings.HasPrefix(e.Message, "no GPU is used: "):
				said = i
			case started < 0 && e.Kind == orchestrator.EventStart:
				started = i
			}
		}
		if said < 0 || said > started {
			t.Errorf("that there is no GPU was event %d, the first start event %d", said, started)
		}
	})

	t.Run("required", func(t *testing.T) {
		b := newBench(t)
		b.Runtime.(*docker.Runtime).Has([]stacks.Device{device}, "")
		records, err := b.execute(t.Context(), b.plan("resources: {gpu: {mode: required}}"+rest))
		if !errors.Is(err, stacks.ErrNoGPU) {
			t.Errorf("Run = %v, want %v", err, stacks.ErrNoGPU)
		}
		if len(records) > 0 {
			t.Errorf("%d records of a run that could not begin", len(records))
		}
		for _, e := range b.events {
			if e.Kind == orchestrator.EventStart {
				t.Errorf("%s was started", e.Topology)
			}
		}
	})
}
