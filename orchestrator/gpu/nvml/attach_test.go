//go:build linux && cgo

package nvml

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
)

// TestAttach: a stack that is measured beside others has the figures that it has alone.
func TestAttach(t *testing.T) {
	const base = 4
	sampler := func(t *testing.T, s *fakedriver.State) *gpu.Sampler {
		return &gpu.Sampler{Driver: open(t, s), Interval: 5 * time.Millisecond, ProcessInterval: 20 * time.Millisecond, Timeout: 5 * time.Second, Settle: 100 * time.Millisecond}
	}
	begin := func(t *testing.T, s *fakedriver.State) (*gpu.Sampler, *gpu.Floor) {
		from := sampler(t, s)
		trial, err := from.Trial(t.Context(), []string{"0"})
		if err != nil {
			t.Fatal(err)
		}
		floor := trial.Floor()
		if err := trial.Detach(); err != nil {
			t.Fatal(err)
		}
		return from, floor
	}
	owner := func(w *worker) gpu.Owner { return gpu.Owner{Service: "app", Role: "app", PID: w.pid()} }
	cell := func(t *testing.T, from *gpu.Sampler, floor *gpu.Floor, own, other *worker, during func()) gpu.Usage {
		trial, err := from.Attach(t.Context(), []string{"0"}, floor, []gpu.Owner{owner(own)}, []gpu.Owner{owner(other)})
		if err != nil {
			t.Fatal(err)
		}
		defer trial.Detach()
		c := trial.Cell()
		during()
		return c.Stop()
	}

	t.Run("idle others", func(t *testing.T) {
		s := fakedriver.New(t, 1)
		from, floor := begin(t, s)
		own, other := newWorker(t, s), newWorker(t, s)
		own.hold(0, 500*mib, "")
		other.hold(0, 3000*mib, "")
		u := cell(t, from, floor, own, other, func() { own.hold(0, 900*mib, "for 200ms") })
		flagged(t, u)
		is(t, "baseline", u.Baseline, base*mib)
		is(t, "start", u.Start, (base+500)*mib)
		is(t, "peak", u.Peak, (base+900)*mib)
		is(t, "over baseline", u.OverBaseline, 900*mib)
		is(t, "stack", u.Stack, 900*mib)
		is(t, "others", u.Others, 3000*mib)
		is(t, "unowned", u.Unowned, 0)
		is(t, "start-up", u.Startup, -1)
		if len(u.Processes) != 1 || len(u.Foreign) != 0 || u.Reason != "" {
			t.Errorf("processes %+v, foreign %+v, %s", u.Processes, u.Foreign, u.Reason)
		}
		u.Forget("later")
		if u.Validity != gpu.Flagged || u.Peak != nil || u.Start != nil || u.Reason != "later" || u.Devices[0].Activity.PowerMean == nil {
			t.Errorf("forgotten: %+v", u)
		}
	})
	t.Run("one that is not idle", func(t *testing.T) {
		s := fakedriver.New(t, 1)
		from, floor := begin(t, s)
		own, other := newWorker(t, s), newWorker(t, s)
		own.hold(0, 500*mib, "")
		other.hold(0, 3000*mib, "")
		u := cell(t, from, floor, own, other, func() { other.hold(0, 3100*mib, "") })
		flagged(t, u, gpu.FlagOthers)
	})
	t.Run("one that ends", func(t *testing.T) {
		s := fakedriver.New(t, 1)
		from, floor := begin(t, s)
		own, other := newWorker(t, s), newWorker(t, s)
		own.hold(0, 500*mib, "")
		other.hold(0, 3000*mib, "")
		u := cell(t, from, floor, own, other, func() { other.end() })
		if got := doubts(u); len(got) == 0 || got[0] != gpu.FlagOthers {
			t.Errorf("flags %v", got)
		}
	})
	t.Run("memory that the driver does not report", func(t *testing.T) {
		s := fakedriver.New(t, 1)
		from, floor := begin(t, s)
		own, other := newWorker(t, s), newWorker(t, s)
		own.hold(0, 500*mib, "")
		s.Processes = []fakedriver.Process{{PID: uint32(other.pid()), Bytes: fakedriver.NotAvailable}}
		write(t, s)
		u := cell(t, from, floor, own, other, func() {})
		is(t, "peak", u.Peak, -1)
		if u.Validity != gpu.Invalid || !strings.Contains(u.Reason, "the run's other stacks") {
			t.Errorf("%s: %s", u.Validity, u.Reason)
		}
	})
	t.Run("one that computes", func(t *testing.T) {
		s := fakedriver.New(t, 1)
		from, floor := begin(t, s)
		own, other := newWorker(t, s), newWorker(t, s)
		own.hold(0, 500*mib, "")
		other.hold(0, 3000*mib, "")
		sample := func(percent int, at uint64) {
			s.Busy = []fakedriver.Busy{{PID: uint32(own.pid()), Percent: 99, Microseconds: at}, {PID: uint32(other.pid()), Percent: percent, Microseconds: at}}
			write(t, s)
			time.Sleep(100 * time.Millisecond) // five readings of the lists
		}
		sample(90, 1000)
		u := cell(t, from, floor, own, other, func() { sample(80, 2000); sample(1, 3000) })
		if flagged(t, u); len(u.Busy) > 0 {
			t.Errorf("what was computed before the cell: %q", u.Busy)
		}
		u = cell(t, from, floor, own, other, func() { sample(80, 4000); sample(70, 5000) })
		if want := []string{"app, which should have been idle, used 70% of the GPU's time"}; !slices.Equal(u.Busy, want) {
			t.Errorf("%q, want %q", u.Busy, want)
		}
	})
	t.Run("none", func(t *testing.T) {
		s := fakedriver.New(t, 1)
		from, floor := begin(t, s)
		own := newWorker(t, s)
		own.hold(0, 500*mib, "")
		trial, err := from.Attach(t.Context(), []string{"0"}, floor, []gpu.Owner{owner(own)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer trial.Detach()
		u := trial.Cell().Stop()
		flagged(t, u)
		is(t, "peak", u.Peak, (base+500)*mib)
		is(t, "others", u.Others, -1)
	})
}
