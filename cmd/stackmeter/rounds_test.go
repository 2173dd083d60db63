package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
)

func figure(mib *float64) string {
	if mib == nil {
		return "–"
	}
	return fmt.Sprint(*mib)
}

// TestFakeGPURounds: the memory of stacks that stay up beside each other is what it is
// where each is alone, to a percent.
func TestFakeGPURounds(t *testing.T) {
	f := newFakeGPU(t)
	f.state.Devices[0].Total = 64 << 30
	f.write()
	const scenario = `topologies: [gunicorn w1/t1, gunicorn w1/t4, gunicorn w2/t1, nginx + gunicorn w1/t2]
matrix: {requests: [120], client: [mp, mt], pool: [6]}
fresh: %s
repeats: %d
`
	alone := map[string]fakeCell{}
	for _, c := range f.run(fmt.Sprintf(scenario, "topology", 1), nil).Cells {
		alone[c.Cell] = c
	}
	most, on := upAtOnce()
	beside := f.run(fmt.Sprintf(scenario, "run", 3), on).Cells
	if len(alone) != 8 || len(beside) != 24 || *most != 4 {
		t.Fatalf("%d cells alone, %d beside each other, %d stacks at once: %s", len(alone), len(beside), *most, f.said)
	}
	for _, c := range beside {
		was, peak := alone[c.Cell], c.GPU.Peak
		switch {
		case c.Status != results.StatusOK || c.Duration == nil:
			t.Errorf("%s, round %d: %s %s", c.Cell, c.Repeat, c.Status, c.Reason)
		case c.Repeat > 1:
			if peak != nil || c.GPU.Reason != results.LaterRound || c.Memory.Peak != nil || c.Memory.Reason != results.LaterRound {
				t.Errorf("%s, round %d: %s MiB (%s), %s MiB (%s)", c.Cell, c.Repeat, figure(peak), c.GPU.Reason, figure(c.Memory.Peak), c.Memory.Reason)
			}
		case peak == nil || was.GPU.Peak == nil || *peak != *was.GPU.Peak || c.GPU.Stack == nil || *c.GPU.Stack != *was.GPU.Stack:
			t.Errorf("%s: %s MiB, alone %s: %s", c.Cell, figure(peak), figure(was.GPU.Peak), c.GPU.Reason)
		case slices.Contains(c.Flags, gpu.FlagForeign) || slices.Contains(c.Flags, gpu.FlagOthers) || slices.Contains(c.Flags, gpu.FlagUnowned):
			t.Errorf("%s: %v", c.Cell, c.Flags)
		case c.Memory.Peak == nil || was.Memory.Peak == nil:
			t.Errorf("%s: main memory %s MiB, alone %s", c.Cell, figure(c.Memory.Peak), figure(was.Memory.Peak))
		default: // of some 40 MiB, by which one start of Python differs from the next by some 100 KiB
			if differ := *c.Memory.Peak - *was.Memory.Peak; math.Abs(differ) > max(1, 0.01**was.Memory.Peak) {
				t.Errorf("%s: main memory %v MiB, alone %v", c.Cell, *c.Memory.Peak, *was.Memory.Peak)
			}
			t.Logf("%s: main memory %.2f MiB, alone %.2f; of the GPU %.0f, alone %.0f", c.Cell, *c.Memory.Peak, *was.Memory.Peak, *peak, *was.GPU.Peak)
		}
	}
}

// upAtOnce counts the stacks that are up at once.
func upAtOnce() (most *int, on func(orchestrator.Event)) {
	up := 0
	most = new(int)
	return most, func(e orchestrator.Event) {
		switch e.Kind {
		case orchestrator.EventReady:
			up++
		case orchestrator.EventStopped:
			up--
		}
		*most = max(*most, up)
	}
}

// TestFakeGPURoundsWaves: what does not fit on the device waits.
func TestFakeGPURoundsWaves(t *testing.T) {
	f := newFakeGPU(t)
	f.state.Devices[0].Total = 9 << 30
	f.write()
	most, on := upAtOnce()
	cells := f.run(`topologies: [gunicorn w1/t1, gunicorn w2/t1, gunicorn w1/t2]
matrix: {requests: [20], client: [single]}
fresh: run
repeats: 2
`, on).Cells
	if len(cells) != 6 || *most != 2 {
		t.Fatalf("%d cells, %d stacks at once: %s", len(cells), *most, f.said)
	}
	for _, c := range cells {
		if c.Status != results.StatusOK || (c.GPU.Peak != nil) != (c.Repeat == 1) {
			t.Errorf("%s, round %d: %s %s, %s MiB", c.Cell, c.Repeat, c.Status, c.Reason, figure(c.GPU.Peak))
		}
	}
}

// TestFault32NoRoomOnTheGPU: what ran out of the device's memory beside others is
// measured again alone. Flask holds more with each request, which nothing foretells.
func TestFault32NoRoomOnTheGPU(t *testing.T) {
	f := newFakeGPU(t)
	f.state.Devices[0].Total = 14 << 30
	f.write()
	most, on := upAtOnce()
	cells := f.run(`topologies: [gunicorn w1/t1, flask]
matrix: {requests: [20], client: [single]}
fresh: run
repeats: 2
warmup: 0
`, on, "--set", "request.max_errors=null").Cells
	if len(cells) != 4 || *most != 2 {
		t.Fatalf("%d cells, %d stacks at once: %s", len(cells), *most, f.said)
	}
	for _, c := range cells {
		want := float64((fakeBase + fakeProcess + fakeThread) / mib)
		if strings.HasPrefix(c.Cell, "flask") {
			want = float64((fakeBase + fakeProcess + 20*fakeThread) / mib)
		}
		if c.Repeat == 1 && (c.Status != results.StatusOK || c.GPU.Peak == nil || *c.GPU.Peak != want) {
			t.Errorf("%s: %s %s, %s MiB, want %v", c.Cell, c.Status, c.Reason, figure(c.GPU.Peak), want)
		}
	}
}
