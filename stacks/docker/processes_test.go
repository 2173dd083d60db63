package docker

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// startedStack is nginx in front of gunicorn.
func startedStack(t testing.TB) *stack {
	t.Helper()
	r := engine(t)
	spec, err := servers.Expand("test-processes-"+stacks.RandomID(), stackstest.Plan(), stackstest.Nginx)
	if err == nil {
		err = r.Prepare(t.Context(), spec, func(string) {})
	}
	if err != nil {
		t.Fatal(err)
	}
	started, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := started.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := stacks.WaitReady(t.Context(), spec, started); err != nil {
		t.Fatal(err)
	}
	return started.(*stack)
}

// TestOwnProcesses: what is read of a service here is what the engine says of it.
func TestOwnProcesses(t *testing.T) {
	st := startedStack(t)
	if !st.local {
		t.Fatal("the engine of the tests is on this machine")
	}
	for i, s := range st.spec.Services {
		own := st.ownProcesses(st.services[i])
		theirs, err := st.processes(t.Context(), s.Name, st.services[i].container)
		if err != nil {
			t.Fatal(err)
		}
		if len(own) == 0 || own[0].PID != st.services[i].pid {
			t.Fatalf("%s: the first process is not %d: %+v", s.Name, st.services[i].pid, own)
		}
		for j, p := range own {
			if started, err := stacks.StartTime(p.PID); err != nil || p.Start != started {
				t.Errorf("%s: process %d started at %d, not %d (%v)", s.Name, p.PID, started, p.Start, err)
			}
			own[j].Start, own[j].Threads = 0, 0 // which change
		}
		for j := range theirs {
			theirs[j].Threads = 0
			theirs[j].Signals &= 1<<31 - 1 // of the real-time ones the C library catches some for itself
		}
		byPID := func(a, b stacks.Process) int { return cmp.Compare(a.PID, b.PID) }
		slices.SortFunc(own, byPID)
		slices.SortFunc(theirs, byPID)
		if !slices.Equal(own, theirs) {
			t.Errorf("%s: read here:\n%+v\nby the engine:\n%+v", s.Name, own, theirs)
		}
	}
}

// BenchmarkProcesses compares the two ways of listing a service's processes. They take
// turns, so that the machine's drift is in both.
func BenchmarkProcesses(b *testing.B) {
	st := startedStack(b)
	var own, theirs time.Duration
	for b.Loop() {
		began := time.Now()
		list := st.ownProcesses(st.services[0])
		own += time.Since(began)
		began = time.Now()
		if _, err := st.processes(b.Context(), st.spec.Services[0].Name, st.services[0].container); err != nil || len(list) == 0 {
			b.Fatal(list, err)
		}
		theirs += time.Since(began)
	}
	b.ReportMetric(own.Seconds()*1e3/float64(b.N), "ms/here")
	b.ReportMetric(theirs.Seconds()*1e3/float64(b.N), "ms/engine")
	b.ReportMetric(own.Seconds()/theirs.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}
