package orchestrator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/results"
)

// A worker of gunicorn answers one request at a time, so that w1 has room for
// what /spike takes, and w2 only where one request comes after the other.
const prunedScenario = `
request: {path: "/spike?mib=200&ms=300"}
warmup: 0
resources: {memory: 400MiB}
topologies:
  - gunicorn w4
  - gunicorn w2
  - gunicorn w1
  - nginx + gunicorn w1
  - {name: other, server: gunicorn, workers: 3, env: {MODEL: other}}
matrix: {requests: [4], client: [single, mt], pool: [4]}
prune: true
repeats: 2
`

// stored are the records of the run by cell and repeat, as the store has them.
func (b *bench) stored() map[string]results.Record {
	b.t.Helper()
	_, records, err := b.store.Run(b.t.Context(), b.run)
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]results.Record{}
	for _, r := range records {
		all[fmt.Sprintf("%s %d", r.Cell.Name, r.Cell.Repeat)] = r
	}
	return all
}

// started are the stacks that were started since the last call, in order.
func (b *bench) started() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, e := range b.events {
		if e.Kind == orchestrator.EventStart {
			names = append(names, e.Topology)
		}
	}
	b.events = nil
	return names
}

func (b *bench) wantPruned(all map[string]results.Record, cell, reason string) {
	b.t.Helper()
	r := all[cell]
	if r.Status != results.StatusPruned || !strings.Contains(r.Reason, reason) {
		b.t.Errorf("%s: %s, %s; want it pruned: %s", cell, r.Status, r.Reason, reason)
	}
	if r.Duration != nil || r.Attempted() || r.Memory.Peak != nil || r.CPU.Stack != nil || r.Stack != nil || r.LogTail != "" {
		b.t.Errorf("%s was not started and has figures: %+v", cell, r)
	}
}

// TestFault29Pruned: the kernel kills workers of w2 for the container's limit.
// w4 is measured at the lighter load and pruned at that one, in each repeat;
// what is not larger than w2, or not the same server, goes on. When the run is
// resumed and w2 fits, what was pruned for it is measured.
func TestFault29Pruned(t *testing.T) {
	b := newBench(t)
	p := b.plan(prunedScenario)
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	all := b.stored()
	if len(all) != p.Cells() {
		t.Errorf("%d records for %d cells", len(all), p.Cells())
	}
	for _, repeat := range []string{" 1", " 2"} {
		for _, cell := range []string{"gunicorn-w2-t1/mt4/n4", "other-w3-t1/mt4/n4"} {
			r := all[cell+repeat]
			if r.Status != results.StatusFailed || !strings.Contains(r.Reason, "oom: ") || r.OutOfMemory != results.MemoryMain {
				t.Errorf("%s%s: %s, %q, %s", cell, repeat, r.Status, r.OutOfMemory, r.Reason)
			}
		}
		b.wantPruned(all, "gunicorn-w4-t1/mt4/n4"+repeat, "not started: gunicorn-w2-t1, which is smaller, ran out of memory at mt4/n4 (repeat 1)")
		for _, cell := range []string{"gunicorn-w1-t1/single/n4", "gunicorn-w1-t1/mt4/n4", "gunicorn-w2-t1/single/n4", "gunicorn-w4-t1/single/n4",
			"nginx+gunicorn-w1-t1/single/n4", "nginx+gunicorn-w1-t1/mt4/n4", "other-w3-t1/single/n4"} {
			if r := all[cell+repeat]; r.Status != results.StatusOK || r.OutOfMemory != "" {
				t.Errorf("%s%s: %s, %s", cell, repeat, r.Status, r.Reason)
			}
		}
	}
	b.started()

	// Resumed as it is, it stays as it is, and what failed is tried again.
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if names := b.started(); slices.Contains(names, "gunicorn-w4-t1") || slices.Contains(names, "gunicorn-w1-t1") || !slices.Contains(names, "gunicorn-w2-t1") {
		t.Errorf("resumed, these were started: %v", names)
	}
	b.wantPruned(b.stored(), "gunicorn-w4-t1/mt4/n4 1", "(repeat 1)")
	b.wantPruned(b.stored(), "gunicorn-w4-t1/mt4/n4 2", "(repeat 1)")

	// Now there is room: an app that takes less stands for a machine that has
	// more.
	p.Request.Path = "/spike?mib=1"
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for cell, r := range b.stored() {
		if r.Status != results.StatusOK {
			t.Errorf("%s once there is room: %s, %s", cell, r.Status, r.Reason)
		}
	}
	if names := b.started(); !slices.Contains(names, "gunicorn-w4-t1") {
		t.Errorf("resumed, these were started: %v", names)
	}
}

// TestFault29PrunedFromTheStart: w2 runs out of memory in its warm-up, at no
// load of its own, so that w4 is not started at all. Without prune it is.
func TestFault29PrunedFromTheStart(t *testing.T) {
	b := newBench(t)
	p := b.plan(`
request: {path: "/spike?mib=200&ms=300"}
warmup: 2
resources: {memory: 400MiB}
topologies: [gunicorn w4, gunicorn w2, gunicorn w1]
matrix: {requests: [4], client: [single]}
prune: true
`)
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	all := b.stored()
	if r := all["gunicorn-w2-t1/single/n4 1"]; r.Status != results.StatusFailed || !strings.Contains(r.Reason, "oom: ") || r.OutOfMemory != results.MemoryMain {
		t.Errorf("w2: %s, %q, %s", r.Status, r.OutOfMemory, r.Reason)
	}
	b.wantPruned(all, "gunicorn-w4-t1/single/n4 1", "not started: gunicorn-w2-t1, which is smaller, ran out of memory before its first cell (repeat 1)")
	if r := all["gunicorn-w1-t1/single/n4 1"]; r.Status != results.StatusOK {
		t.Errorf("w1: %s, %s", r.Status, r.Reason)
	}
	if names := b.started(); !slices.Equal(names, []string{"gunicorn-w1-t1", "gunicorn-w2-t1"}) {
		t.Errorf("these were started: %v", names)
	}
	p.Prune = false
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if r := b.stored()["gunicorn-w4-t1/single/n4 1"]; r.Status != results.StatusFailed || r.OutOfMemory != results.MemoryMain {
		t.Errorf("w4, started: %s, %s", r.Status, r.Reason)
	}
}
