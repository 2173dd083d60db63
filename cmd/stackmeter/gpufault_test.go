package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
	"stackmeter/results"
)

// midCell makes a change of the FAKE driver's state at the first progress of a
// run's first cell, in the middle of its load.
func (f *fakeGPU) midCell(change func()) func(orchestrator.Event) {
	done := false
	return func(e orchestrator.Event) {
		if e.Kind != orchestrator.EventProgress || done {
			return
		}
		done = true
		change()
		if err := f.state.Write(); err != nil {
			f.t.Error(err)
		}
	}
}

// TestFault21ForeignProcess lets somebody else's process take memory in the
// middle of a cell.
func TestFault21ForeignProcess(t *testing.T) {
	f := newFakeGPU(t)
	var stranger *exec.Cmd
	result := f.run(`topologies: [gunicorn w1/t1]
matrix: {requests: [200], client: [single]}
`, func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventProgress && stranger == nil {
			stranger = exec.Command("python3", "-c", fmt.Sprintf(
				"import sys, time; sys.path.insert(0, %q); import fakegpu; fakegpu.open(%[1]q).allocate(%d); time.sleep(600)", f.state.Folder, foreignBytes))
			if err := stranger.Start(); err != nil {
				t.Error(err)
			}
		}
		if e.Kind == orchestrator.EventResult && stranger != nil {
			_ = stranger.Process.Kill()
			_ = stranger.Wait()
		}
	})
	c := result.Cells[0]
	if c.Status != results.StatusOK || !slices.Contains(c.Flags, gpu.FlagForeign) {
		t.Fatalf("%s, flags %v: %s", c.Status, c.Flags, c.Reason)
	}
	if c.GPU.Stack == nil || *c.GPU.Stack != float64((fakeProcess+fakeThread)/mib) {
		t.Errorf("the stranger is counted in the stack's %v MiB", c.GPU.Stack)
	}
	if d := c.GPU.Detail; d.ForeignPeak == nil || *d.ForeignPeak != foreignBytes || len(d.Foreign) != 1 || !strings.HasPrefix(d.Foreign[0].Name, "python") {
		t.Errorf("foreign: %v, %+v", d.ForeignPeak, d.Foreign)
	}
}

// TestFault18GPUIsLost takes the device away in the middle of a cell.
func TestFault18GPUIsLost(t *testing.T) {
	f := newFakeGPU(t)
	result := f.run(`topologies: [gunicorn w1/t1, flask]
matrix: {requests: [200], client: [single]}
`, func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventProgress && len(f.state.Errors) == 0 {
			for _, function := range []string{"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetComputeRunningProcesses"} {
				f.state.Errors = append(f.state.Errors, fakedriver.Error{Function: function, Return: nvmlGPULost})
			}
			if err := f.state.Write(); err != nil {
				t.Error(err)
			}
		}
	})
	first, second := result.Cells[0], result.Cells[1]
	if first.Status != results.StatusOK || first.Duration == nil || first.GPU.Peak != nil || !strings.Contains(first.GPU.Reason, gpu.CodeGPULost) {
		t.Errorf("the cell that lost it: %s, duration %v, peak %v, %q", first.Status, first.Duration, first.GPU.Peak, first.GPU.Reason)
	}
	if second.Status != results.StatusFailed || second.GPU.Peak != nil || !strings.Contains(second.Reason, gpu.CodeGPULost) {
		t.Errorf("the cell after it: %s, %q", second.Status, second.Reason)
	}
}

// TestFault18NVMLErrors lets every reading of the memory fail from the middle
// of a cell on, with an error that says nothing.
func TestFault18NVMLErrors(t *testing.T) {
	f := newFakeGPU(t)
	result := f.run(`topologies: [gunicorn w1/t1, flask]
matrix: {requests: [200], client: [single]}
`, f.midCell(func() {
		for _, function := range []string{"nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo_v2"} {
			f.state.Errors = append(f.state.Errors, fakedriver.Error{Function: function, Return: nvmlUnknown})
		}
	}))
	first, second := result.Cells[0], result.Cells[1]
	if first.Status != results.StatusOK || first.Duration == nil || first.GPU.Peak != nil || first.GPU.Stack != nil || first.GPU.Reason == "" {
		t.Errorf("the cell that it began in: %s, duration %v, peak %v, stack %v, %q", first.Status, first.Duration, first.GPU.Peak, first.GPU.Stack, first.GPU.Reason)
	}
	if second.Status != results.StatusFailed || second.GPU.Peak != nil || !strings.Contains(second.Reason, "UNKNOWN") {
		t.Errorf("the cell after it: %s, peak %v, %q", second.Status, second.GPU.Peak, second.Reason)
	}
}

// TestFault18DriverHangs has the driver not come back from being started, or
// from being left. The first is under --timeout, the second costs nothing.
func TestFault18DriverHangs(t *testing.T) {
	const forever = 3600 * 1000 // milliseconds
	const scenario = `topologies: [flask]
matrix: {requests: [3], client: [single]}
`
	t.Run("started", func(t *testing.T) {
		f := newFakeGPU(t)
		f.state.Hang = map[string]int{"nvmlInit": forever}
		f.write()
		result := f.run(scenario, nil, "--timeout", "1s")
		if len(result.Cells) > 0 || !strings.Contains(f.said, "the run took longer than --timeout 1s") {
			t.Errorf("%d cells\n%s", len(result.Cells), f.said)
		}
	})
	t.Run("left", func(t *testing.T) {
		f := newFakeGPU(t)
		f.state.Hang = map[string]int{"nvmlShutdown": forever}
		f.write()
		result := f.run(scenario, nil)
		if len(result.Cells) != 1 || result.Cells[0].Status != results.StatusOK {
			t.Errorf("%+v\n%s", result.Cells, f.said)
		}
	})
}

// TestFault19ContainerLosesGPU takes the GPU away from a running container in
// the middle of a cell: the cell is void and measured again on a new stack,
// once. A second time it fails, and the cells after it have a stack of their
// own.
func TestFault19ContainerLosesGPU(t *testing.T) {
	const scenario = `topologies: [gunicorn w1/t1]
matrix: {requests: [40], client: [single, mt], pool: [2]}
`
	for _, test := range []struct {
		name   string
		losses int // of the first cell
		ok     bool
	}{
		{"once", 1, true},
		{"again", 2, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, toolkit := newFakeGPUContainers(t)
			alloc := filepath.Join(f.state.Folder, "alloc")
			losses, started := 0, 0
			var notes []string
			result := f.run(scenario, func(e orchestrator.Event) {
				switch {
				case e.Kind == orchestrator.EventStart:
					started++
				case e.Kind == orchestrator.EventNote:
					notes = append(notes, e.Message)
				case e.Kind == orchestrator.EventCell && losses < test.losses:
					losses++
					seen, err := filepath.Glob(filepath.Join(alloc, "seen-*"))
					if err != nil || len(seen) == 0 {
						t.Errorf("nobody looked inside the container before the cell: %v", err)
					}
					for _, file := range seen {
						if err := os.WriteFile(strings.Replace(file, "seen-", "lost-", 1), nil, 0o644); err != nil {
							t.Error(err)
						}
					}
				}
			})
			if len(result.Cells) != 2 {
				t.Fatalf("%d cells\n%s", len(result.Cells), f.said)
			}
			first, second := result.Cells[0], result.Cells[1]
			if (first.Status == results.StatusOK) != test.ok || !slices.Contains(first.Flags, results.FlagRepeated) {
				t.Errorf("the cell that lost it: %s, %v, %s", first.Status, first.Flags, first.Reason)
			}
			if test.ok && (first.Duration == nil || first.GPU.Stack == nil || *first.GPU.Stack != float64((fakeProcess+fakeThread)/mib)) {
				t.Errorf("measured again: duration %v, stack %v", first.Duration, first.GPU.Stack)
			}
			if !test.ok && (first.Duration != nil || !strings.Contains(first.Reason, "has lost its GPU")) {
				t.Errorf("lost twice: duration %v, %s", first.Duration, first.Reason)
			}
			if second.Status != results.StatusOK || slices.Contains(second.Flags, results.FlagRepeated) {
				t.Errorf("the cell after it: %s, %v, %s", second.Status, second.Flags, second.Reason)
			}
			if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "measured again on a new stack") }) {
				t.Errorf("nobody was told: %v", notes)
			}
			if started != 1+test.losses {
				t.Errorf("%d stacks were started, want one for the start and one for each loss", started)
			}
			if want := []string{f.state.Devices[0].UUID}; len(toolkit.asked) != 1+started || !slices.Equal(toolkit.asked[0], want) {
				t.Errorf("asked for GPUs: %v, want %v for the trial container and for each stack", toolkit.asked, want)
			}
		})
	}
}

// TestFault20MemoryOfTheDead leaves memory on the device that no process holds
// any more: the trial that left it cannot say what was its own, and the next
// one is refused after the wait that was asked for, which is none.
func TestFault20MemoryOfTheDead(t *testing.T) {
	f := newFakeGPU(t)
	const left = 900 * mib
	result := f.run(`topologies: [gunicorn w1/t1, flask]
matrix: {requests: [100], client: [single]}
`, f.midCell(func() { f.state.Devices[0].Base += left }), "--gpu-wait", "0")
	first, second := result.Cells[0], result.Cells[1]
	if first.Status != results.StatusOK || first.Duration == nil || first.GPU.Peak != nil || !strings.Contains(first.GPU.Reason, "never came back") {
		t.Errorf("the cell that left it: %s, duration %v, peak %v, %q", first.Status, first.Duration, first.GPU.Peak, first.GPU.Reason)
	}
	if d := first.GPU.Detail; d.Teardown == nil || *d.Teardown != fakeBase+left {
		t.Errorf("after teardown %v, want what is left", d.Teardown)
	}
	if second.Status != results.StatusFailed || second.Duration != nil || !strings.Contains(second.Reason, "not free after 0s") || !strings.Contains(second.Reason, "900 MiB more than when it was idle") {
		t.Errorf("the cell after it: %s, duration %v, %q", second.Status, second.Duration, second.Reason)
	}
}

// TestFault20MemoryComesBack is the same with memory that is given back once
// the stack is gone: nobody is refused, and what it was during the cell is
// flagged, because no process held it.
func TestFault20MemoryComesBack(t *testing.T) {
	f := newFakeGPU(t)
	const left = 900 * mib
	came := f.midCell(func() { f.state.Devices[0].Base += left })
	gone := false
	result := f.run(`topologies: [gunicorn w1/t1, flask]
matrix: {requests: [300], client: [single]}
`, func(e orchestrator.Event) {
		came(e)
		if e.Kind == orchestrator.EventStopped && !gone {
			gone = true
			f.state.Devices[0].Base -= left
			f.write()
		}
	})
	first, second := result.Cells[0], result.Cells[1]
	if first.Status != results.StatusOK || !slices.Contains(first.Flags, gpu.FlagUnowned) || first.GPU.Peak == nil || first.GPU.Detail.Teardown == nil {
		t.Errorf("the cell that it came in: %s, %v, peak %v: %s %s", first.Status, first.Flags, first.GPU.Peak, first.Reason, first.GPU.Reason)
	}
	if second.Status != results.StatusOK || second.Duration == nil || second.GPU.Peak == nil || slices.Contains(second.Flags, gpu.FlagUnowned) {
		t.Errorf("the cell after it: %s, %v, peak %v: %s %s", second.Status, second.Flags, second.GPU.Peak, second.Reason, second.GPU.Reason)
	}
}

// TestFault20InterruptedBeforeItIsBack interrupts a run that waits for memory
// which does not come back: the stack is gone, and the run ends in time by itself.
func TestFault20InterruptedBeforeItIsBack(t *testing.T) {
	f := newFakeGPU(t)
	left := f.midCell(func() { f.state.Devices[0].Base += 900 * mib })
	result := f.run(`topologies: [gunicorn w1/t1, flask]
matrix: {requests: [100], client: [single]}
`, func(e orchestrator.Event) {
		left(e)
		if e.Kind == orchestrator.EventStopped {
			_ = f.process.Signal(os.Interrupt)
		}
	}, "--gpu-wait", "1m")
	if strings.Contains(f.said, "left behind") || !strings.Contains(f.said, "interrupted; finished cells are kept") {
		t.Errorf("it says\n%s", f.said)
	}
	if len(result.Cells) != 1 || !strings.Contains(result.Cells[0].GPU.Reason, "the wait for it was cut short") {
		t.Errorf("%+v", result.Cells)
	}
}

// TestFault22SamplerStalls lets single readings take long, and then all of
// them longer than anybody waits.
func TestFault22SamplerStalls(t *testing.T) {
	const memory = "nvmlDeviceGetMemoryInfo_v2"
	for _, test := range []struct {
		name  string
		stall int // milliseconds of each reading
		peak  bool
		want  string // a flag, or a part of the reason
	}{
		{"slow", 150, true, gpu.FlagGap},
		{"hung", 60_000, false, "stopped answering"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFakeGPU(t)
			result := f.run(`topologies: [gunicorn w1/t1]
matrix: {requests: [200], client: [single]}
`, f.midCell(func() { f.state.Hang = map[string]int{memory: test.stall} }))
			c := result.Cells[0]
			if c.Status != results.StatusOK || c.Duration == nil {
				t.Fatalf("%s, duration %v: %s", c.Status, c.Duration, c.Reason)
			}
			if (c.GPU.Peak != nil) != test.peak {
				t.Errorf("peak %v, %s", c.GPU.Peak, c.GPU.Reason)
			}
			if !slices.Contains(c.Flags, test.want) && !strings.Contains(c.GPU.Reason, test.want) {
				t.Errorf("flags %v, reason %q; want %q", c.Flags, c.GPU.Reason, test.want)
			}
		})
	}
}

// TestFault29GPUOutOfMemory lets two topologies run out of the (FAKE) device's
// memory, one under a load and one at its start: those that are larger than
// them are pruned, the first at that load alone, and all others are measured.
func TestFault29GPUOutOfMemory(t *testing.T) {
	f := newFakeGPU(t)
	// Enough for one process and three of its threads.
	f.state.Devices[0].Total = fakeBase + fakeProcess + 3*fakeThread
	f.write()
	started := map[string]int{}
	result := f.run(`topologies: [gunicorn w1/t1, gunicorn w2/t1, gunicorn w1/t4, gunicorn w4/t1, gunicorn w1/t8, gunicorn w4/t4, nginx + gunicorn w1/t2]
matrix: {requests: [120], client: [single, mp, mt], pool: [6]}
prune: true
`, func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventStart {
			started[e.Topology]++
		}
	}, "--set", "request.max_errors=5")
	const atStart = "not started: gunicorn-w2-t1, which is smaller, ran out of GPU memory before its first cell (repeat 1)"
	for _, want := range []struct{ cell, status, reason string }{
		{"gunicorn-w1-t1/single/n120", results.StatusOK, ""},
		{"gunicorn-w1-t1/mp6/n120", results.StatusOK, ""},
		{"gunicorn-w2-t1/single/n120", results.StatusFailed, "oom: the stack ran out of GPU memory (app | fakegpu.OutOfMemoryError: CUDA out of memory. Tried to allocate 2600.00 MiB.)"},
		{"gunicorn-w2-t1/mp6/n120", results.StatusFailed, "CUDA out of memory"},
		{"gunicorn-w1-t4/single/n120", results.StatusOK, ""},
		{"gunicorn-w1-t4/mp6/n120", results.StatusFailed, "CUDA out of memory. Tried to allocate 500.00 MiB."},
		{"gunicorn-w1-t4/mt6/n120", results.StatusFailed, "CUDA out of memory. Tried to allocate 500.00 MiB."}, // on the same stack
		{"gunicorn-w4-t1/single/n120", results.StatusPruned, atStart},
		{"gunicorn-w4-t1/mp6/n120", results.StatusPruned, atStart},
		{"gunicorn-w1-t8/single/n120", results.StatusOK, ""},
		{"gunicorn-w1-t8/mp6/n120", results.StatusPruned, "not started: gunicorn-w1-t4, which is smaller, ran out of GPU memory at mp6/n120 (repeat 1)"},
		{"gunicorn-w1-t8/mt6/n120", results.StatusPruned, "not started: gunicorn-w1-t4, which is smaller, ran out of GPU memory at mt6/n120 (repeat 1)"},
		{"gunicorn-w4-t4/single/n120", results.StatusPruned, atStart},
		{"gunicorn-w4-t4/mp6/n120", results.StatusPruned, atStart},
		{"nginx+gunicorn-w1-t2/single/n120", results.StatusOK, ""},
		{"nginx+gunicorn-w1-t2/mp6/n120", results.StatusOK, ""},
	} {
		i := slices.IndexFunc(result.Cells, func(c fakeCell) bool { return c.Cell == want.cell })
		if i < 0 {
			t.Errorf("no record of %s", want.cell)
			continue
		}
		c := result.Cells[i]
		if c.Status != want.status || !strings.Contains(c.Reason, want.reason) {
			t.Errorf("%s: %s, %s", c.Cell, c.Status, c.Reason)
		}
		if memory := map[string]string{results.StatusFailed: results.MemoryGPU}[c.Status]; c.OutOfMemory != memory {
			t.Errorf("%s ran out of the memory %q, want %q", c.Cell, c.OutOfMemory, memory)
		}
		if c.Status == results.StatusPruned && (c.Duration != nil || c.GPU.Peak != nil || c.GPU.Stack != nil || c.Stack != nil) {
			t.Errorf("%s was not started and has figures: %+v", c.Cell, c)
		}
	}
	for _, pruned := range []string{"gunicorn-w4-t1", "gunicorn-w4-t4"} {
		if started[pruned] != 0 {
			t.Errorf("%s was started", pruned)
		}
	}
	if !strings.Contains(f.said, "5 of 21 cells failed, and 8 were pruned") {
		t.Errorf("said at the end: %s", f.said)
	}
}
