package docker

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// TestFault03SweepWaitsForWhatIsBeingMade: a second Ctrl-C sweeps the run and
// ends the process. An object that the engine was making just then must be
// swept too: the crash campaign found a network that was not.
func TestFault03SweepWaitsForWhatIsBeingMade(t *testing.T) {
	r := engine(t)
	spec := stackstest.Spec(t, "test-sweep-waits-"+filepath.Base(t.TempDir()), stackstest.Flask, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, made, err := r.creating(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	cancel() // the first Ctrl-C
	swept := make(chan error, 1)
	go func() {
		_, err := r.Sweep(t.Context(), spec.Run)
		swept <- err
	}()
	select {
	case err := <-swept:
		t.Fatalf("it swept (%v) while something was being made", err)
	case <-time.After(200 * time.Millisecond): // long enough for a sweep that does not wait
	}
	// By another runtime, which holds a lock of its own.
	late := &stack{runtime: engine(t), spec: spec, id: stacks.RandomID()}
	if err := late.createNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	made()
	if err := <-swept; err != nil {
		t.Error(err)
	}
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, _, err := r.creating(ctx, time.Minute); err == nil {
		t.Error("something is made for a run that was cancelled")
	}
}

// TestFault01SweepGoesOnWithWhatCame: the engine still makes what a process
// told it to that was killed. A container that comes between the looks of a
// sweep is removed too; the crash campaign met a run that was refused for one.
func TestFault01SweepGoesOnWithWhatCame(t *testing.T) {
	r := engine(t)
	spec := stackstest.Spec(t, "test-sweep-goes-on-"+filepath.Base(t.TempDir()), stackstest.Flask, nil)
	late := &stack{runtime: engine(t), spec: spec, id: stacks.RandomID()}
	if err := late.createNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	made := 0
	go func() {
		defer close(ended)
		// One network right behind the other, for as long as the sweep takes.
		for ctx.Err() == nil {
			another := &stack{runtime: late.runtime, spec: spec, id: stacks.RandomID()}
			if another.createNetwork(ctx) == nil {
				made++
			}
			if made == 3 {
				return
			}
		}
	}()
	_, err := r.Sweep(t.Context(), spec.Run)
	cancel()
	<-ended
	if err != nil {
		t.Errorf("after %d more networks: %v", made, err)
	}
	if _, err := r.Sweep(t.Context(), spec.Run); err != nil {
		t.Error(err)
	}
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
