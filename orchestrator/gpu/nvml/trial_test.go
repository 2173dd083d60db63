//go:build linux && cgo

package nvml

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
)

// newTrial begins a trial on the state's first device.
func newTrial(t testing.TB, s *fakedriver.State) *gpu.Trial {
	t.Helper()
	sampler := &gpu.Sampler{Driver: open(t, s), Interval: 5 * time.Millisecond, ProcessInterval: 20 * time.Millisecond, Timeout: 5 * time.Second, Settle: 100 * time.Millisecond}
	trial, err := sampler.Trial(t.Context(), []string{"0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trial.Close(context.Background()) })
	return trial
}

// measure makes a trial with one cell, in which during is run.
func measure(t testing.TB, s *fakedriver.State, during func(*gpu.Trial)) gpu.Usage {
	t.Helper()
	trial := newTrial(t, s)
	cell := trial.Cell()
	during(trial)
	return cell.Stop()
}

// doubts are the flags less those that depend on how busy the test machine is.
func doubts(u gpu.Usage) []string {
	return slices.DeleteFunc(slices.Clone(u.Flags), func(f string) bool {
		return f == gpu.FlagGap || f == gpu.FlagFewSamples
	})
}

// is compares a figure; -1 stands for nil.
func is(t *testing.T, what string, got *int64, want int64) {
	t.Helper()
	switch {
	case want < 0 && got != nil:
		t.Errorf("%s = %d MiB, want none", what, *got/mib)
	case want >= 0 && got == nil:
		t.Errorf("%s is missing, want %d MiB", what, want/mib)
	case want >= 0 && *got != want:
		t.Errorf("%s = %d MiB, want %d MiB", what, *got/mib, want/mib)
	}
}

// flagged compares the doubts.
func flagged(t *testing.T, u gpu.Usage, want ...string) {
	t.Helper()
	want = append(want, gpu.FlagFakeDriver)
	if got := doubts(u); !slices.Equal(got, want) {
		t.Errorf("flags %v, want %v", got, want)
	}
}

// write makes a change of the state the driver's.
func write(t testing.TB, s *fakedriver.State) {
	t.Helper()
	if err := s.Write(); err != nil {
		t.Fatal(err)
	}
}

func TestTrialPhases(t *testing.T) {
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	trial.Phase(gpu.PhaseStartup)
	w := newWorker(t, s)
	w.hold(0, 2000*mib, "for 200ms")
	w.hold(0, 500*mib, "")
	trial.Owners([]gpu.Owner{{Service: "app", Role: "app", PID: w.pid()}})
	trial.Phase(gpu.PhaseWarmup)
	w.hold(0, 700*mib, "for 200ms")
	if err := trial.WaitClean(t.Context(), time.Minute); err != nil {
		t.Errorf("WaitClean beside the stack's own process: %v", err)
	}
	cell := trial.Cell()
	w.hold(0, 900*mib, "for 200ms")
	u := cell.Stop()

	flagged(t, u)
	if u.Validity != gpu.Flagged || !u.Fake || u.Reason != "" || u.ProcessReason != "" || u.Method != gpu.MethodNVMLv2 {
		t.Errorf("usage %+v", u)
	}
	const base = 4
	is(t, "baseline", u.Baseline, base*mib)
	is(t, "start-up peak", u.Startup, (base+2000)*mib)
	is(t, "warm-up peak", u.Warmup, (base+700)*mib)
	is(t, "start", u.Start, (base+500)*mib)
	is(t, "peak", u.Peak, (base+900)*mib)
	is(t, "over baseline", u.OverBaseline, 900*mib)
	is(t, "after the cell", u.After, (base+500)*mib)
	is(t, "after teardown", u.Teardown, -1)
	is(t, "stack", u.Stack, 900*mib)
	is(t, "reserved", u.Reserved, 300*mib)
	is(t, "total", u.Total, 16<<30)
	is(t, "unowned", u.Unowned, 0)

	w.end()
	after := trial.Close(t.Context())
	is(t, "after teardown", after.Used, base*mib)
	if !after.Back || after.Reason != "" || len(after.Series) == 0 {
		t.Errorf("aftermath %+v", after)
	}
	var phases []string
	for _, m := range after.Marks {
		phases = append(phases, m.Phase)
	}
	want := []string{gpu.PhaseIdle, gpu.PhaseStartup, gpu.PhaseWarmup, gpu.PhaseMeasure, gpu.PhaseBetween, gpu.PhaseTeardown}
	if !slices.Equal(phases, want) {
		t.Errorf("phases %v, want %v", phases, want)
	}
	after.Apply(&u)
	// A chart of the trial shows where the cell began, by the same clock.
	if len(u.Trial) != len(after.Series) || u.Began != u.Marks[3].At || len(u.Series) == 0 {
		t.Errorf("for the chart: %d points of the trial, %d of the cell, which began at %v, marks %v", len(u.Trial), len(u.Series), u.Began, u.Marks)
	}
	is(t, "after teardown", u.Teardown, base*mib)
	is(t, "peak", u.Peak, (base+900)*mib)
}

func TestTrialWorkersAddUp(t *testing.T) {
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	var workers []*worker
	var owners []gpu.Owner
	for i, name := range []string{"app", "app", "other"} {
		w := newWorker(t, s)
		w.hold(0, int64(300+i)*mib, "")
		workers = append(workers, w)
		owners = append(owners, gpu.Owner{Service: name, Role: "app", PID: w.pid()})
	}
	trial.Owners(owners)
	u := trial.Cell().Stop()
	flagged(t, u)
	is(t, "stack", u.Stack, 903*mib)
	if len(u.Processes) != 3 || len(u.Services) != 2 {
		t.Fatalf("processes %+v, services %+v", u.Processes, u.Services)
	}
	is(t, "app", u.Services[0].Peak, 601*mib)
	is(t, "other", u.Services[1].Peak, 302*mib)
	sum := int64(0)
	for _, p := range u.Processes {
		i := slices.IndexFunc(workers, func(w *worker) bool { return w.pid() == p.PID })
		if i < 0 || p.Start == 0 || p.Service != owners[i].Service {
			t.Fatalf("process %+v", p)
		}
		is(t, "worker", p.Peak, int64(300+i)*mib)
		sum += *p.Peak
	}
	if sum != *u.Stack {
		t.Errorf("the workers' peaks add up to %d, the stack's is %d", sum, *u.Stack)
	}
}

func TestTrialForeignProcess(t *testing.T) {
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	mine, other := newWorker(t, s), newWorker(t, s)
	mine.hold(0, 400*mib, "")
	trial.Owners([]gpu.Owner{{Service: "app", PID: mine.pid()}})
	cell := trial.Cell()
	other.hold(0, 1000*mib, "")
	u := cell.Stop()
	flagged(t, u, gpu.FlagForeign)
	is(t, "stack", u.Stack, 400*mib)
	is(t, "foreign", u.ForeignPeak, 1000*mib)
	if len(u.Foreign) != 1 || u.Foreign[0].PID != other.pid() {
		t.Errorf("foreign %+v", u.Foreign)
	}
	err := trial.WaitClean(t.Context(), time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "1000 MiB") {
		t.Errorf("WaitClean = %v, want who holds 1000 MiB", err)
	}
	other.end()
	if err := trial.WaitClean(t.Context(), time.Minute); err != nil {
		t.Errorf("WaitClean, the other being gone: %v", err)
	}
}

// TestTrialDescendants: a server's workers are its children, and children of
// children whose parent has ended.
func TestTrialDescendants(t *testing.T) {
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	cmd := exec.Command("sh", "-c", os.Args[0]+"; true") // the shell stays as its parent
	cmd.Env = append(os.Environ(), appEnv+"="+s.Folder)
	w := startWorker(t, cmd)
	w.hold(0, 100*mib, "")
	trial.Owners([]gpu.Owner{{Service: "app", PID: cmd.Process.Pid}})
	u := trial.Cell().Stop()
	flagged(t, u)
	is(t, "stack", u.Stack, 100*mib)
	if len(u.Processes) != 1 || u.Processes[0].PID == cmd.Process.Pid || u.Processes[0].Parent != cmd.Process.Pid {
		t.Errorf("processes %+v, want the child of %d", u.Processes, cmd.Process.Pid)
	}
}

func TestTrialFaults(t *testing.T) {
	const list = "nvmlDeviceGetComputeRunningProcesses"
	inject := func(function string, ret int) func(*testing.T, *fakedriver.State, *worker) {
		return func(t *testing.T, s *fakedriver.State, w *worker) {
			s.Errors = append(s.Errors, fakedriver.Error{Function: function, Return: ret})
			write(t, s)
		}
	}
	tests := []struct {
		name       string
		begin      func(*fakedriver.State) // before the driver is opened
		during     func(*testing.T, *fakedriver.State, *worker)
		invalid    string // the reason; empty: flagged
		flags      []string
		peak       int64 // MiB; -1 none
		stack      int64
		processWhy string
	}{
		{name: "memory that nobody owns",
			during: func(t *testing.T, s *fakedriver.State, w *worker) { s.Devices[0].Base += 2000 * mib; write(t, s) },
			flags:  []string{gpu.FlagUnowned}, peak: 2404, stack: 400},
		{name: "an entry larger than the device",
			during: func(t *testing.T, s *fakedriver.State, w *worker) { s.Devices[0].Total = 300 * mib; write(t, s) },
			flags:  []string{gpu.FlagGarbageList}, peak: 404, stack: 400},
		{name: "device disappears",
			during:  func(t *testing.T, s *fakedriver.State, w *worker) { s.Devices = nil; write(t, s) },
			invalid: "GPU_IS_LOST", flags: []string{gpu.FlagReadErrors}, peak: -1, stack: -1},
		{name: "memory cannot be read from the beginning", begin: func(s *fakedriver.State) {
			s.Errors = append(s.Errors, fakedriver.Error{Function: "nvmlDeviceGetMemoryInfo_v2", Return: 999})
		}, invalid: "UNKNOWN", flags: []string{gpu.FlagReadErrors}, peak: -1, stack: -1},
		{name: "memory is not supported", begin: func(s *fakedriver.State) {
			s.Errors = append(s.Errors, fakedriver.Error{Function: "nvmlDeviceGetMemoryInfo_v2", Return: 3})
		}, invalid: "NOT_SUPPORTED", flags: []string{gpu.FlagReadErrors}, peak: -1, stack: -1},
		{name: "the method changes", during: inject("nvmlDeviceGetMemoryInfo_v2", 13),
			invalid: "changed", flags: nil, peak: -1, stack: -1},
		{name: "a worker dies", during: func(t *testing.T, s *fakedriver.State, w *worker) { w.end() },
			invalid: "ended during the cell", peak: -1, stack: -1},
		{name: "no permission to list", begin: func(s *fakedriver.State) {
			s.Errors = append(s.Errors, fakedriver.Error{Function: list, Return: 4})
		}, flags: []string{gpu.FlagNoClaim, gpu.FlagReadErrors}, peak: 404, stack: -1, processWhy: "NO_PERMISSION"},
		{name: "garbage in the list", begin: func(s *fakedriver.State) { s.Garbage = true; s.Processes = []fakedriver.Process{{PID: 1, Bytes: mib}} },
			flags: []string{gpu.FlagNoClaim, gpu.FlagGarbageList}, peak: 405, stack: -1, processWhy: "impossible entry"},
		{name: "a driver that is known for garbage", begin: func(s *fakedriver.State) { s.Driver = "535.54-FAKE" },
			flags: []string{gpu.FlagNoClaim}, peak: 404, stack: -1, processWhy: "another layout"},
		{name: "NOT_AVAILABLE for a process", begin: func(s *fakedriver.State) {
			s.Processes = []fakedriver.Process{{PID: uint32(os.Getpid()), Bytes: fakedriver.NotAvailable}}
		}, flags: []string{gpu.FlagForeign}, peak: 404, stack: 400},
		{name: "a process that has ended stays in the list", begin: func(s *fakedriver.State) {
			s.Processes = []fakedriver.Process{{PID: maxUnusedPID, Bytes: 200 * mib}}
		}, flags: nil, peak: 604, stack: 400},
		{name: "throttled", begin: func(s *fakedriver.State) { s.Devices[0].Throttle = 64 },
			flags: []string{gpu.FlagThrottled}, peak: 404, stack: 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fakedriver.New(t, 1)
			if tt.begin != nil {
				tt.begin(s)
			}
			trial := newTrial(t, s)
			w := newWorker(t, s)
			w.hold(0, 400*mib, "")
			trial.Owners([]gpu.Owner{{Service: "app", PID: w.pid()}})
			cell := trial.Cell()
			if tt.during != nil {
				tt.during(t, s, w)
			}
			u := cell.Stop()
			if tt.invalid != "" && (u.Validity != gpu.Invalid || !strings.Contains(u.Reason, tt.invalid)) {
				t.Errorf("%s, %q; want invalid because of %q", u.Validity, u.Reason, tt.invalid)
			}
			if tt.invalid == "" {
				if u.Validity != gpu.Flagged {
					t.Errorf("%s, %q; want flagged", u.Validity, u.Reason)
				}
				flagged(t, u, tt.flags...)
			}
			if tt.peak >= 0 {
				tt.peak *= mib
			}
			if tt.stack >= 0 {
				tt.stack *= mib
			}
			is(t, "peak", u.Peak, tt.peak)
			is(t, "stack", u.Stack, tt.stack)
			if !strings.Contains(u.ProcessReason, tt.processWhy) {
				t.Errorf("process reason %q, want %q", u.ProcessReason, tt.processWhy)
			}
		})
	}
}

// maxUnusedPID is larger than any PID in use, and still possible.
const maxUnusedPID = 1<<22 - 1

func TestTrialWhereNothingIsAvailable(t *testing.T) {
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	w := newWorker(t, s)
	w.hold(0, fakedriver.NotAvailable, "")
	s.Processes = []fakedriver.Process{{PID: uint32(w.pid()), Bytes: fakedriver.NotAvailable}}
	s.Devices[0].Base += 400 * mib
	write(t, s)
	trial.Owners([]gpu.Owner{{Service: "app", PID: w.pid()}})
	u := trial.Cell().Stop()
	flagged(t, u, gpu.FlagNoClaim)
	is(t, "peak", u.Peak, 404*mib)
	is(t, "stack", u.Stack, -1)
	is(t, "unowned", u.Unowned, -1)
	if len(u.Processes) != 1 || u.Processes[0].Peak != nil || !strings.Contains(u.ProcessReason, "does not report") {
		t.Errorf("usage %+v", u)
	}
}

func TestTrialUnseenStack(t *testing.T) {
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	trial.Owners([]gpu.Owner{{Service: "app", PID: os.Getpid()}})
	cell := trial.Cell()
	u := cell.Stop()
	flagged(t, u, gpu.FlagUnused)
	is(t, "stack", u.Stack, -1)
	is(t, "peak", u.Peak, 4*mib)

	s.Devices[0].Base += 400 * mib
	write(t, s)
	if u = trial.Cell().Stop(); u.Validity != gpu.Invalid || u.Peak != nil || !strings.Contains(u.Reason, "no process of the stack") {
		t.Errorf("usage %+v, want invalid: the app uses the GPU, and nobody is seen on it", u)
	}
}

func TestTrialMemoryStays(t *testing.T) {
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	w := newWorker(t, s)
	w.hold(0, 400*mib, "")
	trial.Owners([]gpu.Owner{{Service: "app", PID: w.pid()}})
	u := trial.Cell().Stop()
	after := trial.Close(t.Context())
	if after.Back || !strings.Contains(after.Reason, "404 MiB in use after teardown, 4 MiB when idle; process") || len(after.Holders) != 1 {
		t.Errorf("aftermath %+v", after)
	}
	after.Apply(&u)
	if u.Validity != gpu.Invalid || u.Peak != nil || u.Stack != nil || !strings.Contains(u.Reason, "never came back") {
		t.Errorf("usage %+v", u)
	}
	is(t, "after teardown", u.Teardown, 404*mib)
}

func TestTrialHangingDriver(t *testing.T) {
	s := fakedriver.New(t, 1)
	sampler := &gpu.Sampler{Driver: open(t, s), Interval: 5 * time.Millisecond, Timeout: 50 * time.Millisecond, Settle: 100 * time.Millisecond}
	trial, err := sampler.Trial(t.Context(), []string{"0"})
	if err != nil {
		t.Fatal(err)
	}
	cell := trial.Cell()
	s.Hang = map[string]int{"nvmlDeviceGetMemoryInfo_v2": 1000}
	write(t, s)
	u := cell.Stop()
	if u.Validity != gpu.Invalid || u.Peak != nil || !strings.Contains(u.Reason, "stopped answering") {
		t.Errorf("usage %+v", u)
	}
	s.Hang = nil
	write(t, s)
	trial.Close(t.Context())
}

func TestTrialOpenHangs(t *testing.T) {
	s := fakedriver.New(t, 1)
	sampler := &gpu.Sampler{Driver: open(t, s), Timeout: 50 * time.Millisecond}
	s.Hang = map[string]int{"nvmlDeviceGetHandleByIndex": 1000}
	write(t, s)
	trial, err := sampler.Trial(t.Context(), []string{"0"})
	if trial != nil || err == nil || !strings.Contains(err.Error(), "the GPU driver did not answer within 50ms") {
		t.Errorf("%v, %v", trial, err)
	}
}

func TestTrialTwoDevices(t *testing.T) {
	s := fakedriver.New(t, 3)
	sampler := &gpu.Sampler{Driver: open(t, s), Interval: 5 * time.Millisecond, Timeout: 5 * time.Second, Settle: 100 * time.Millisecond}
	trial, err := sampler.Trial(t.Context(), []string{s.Devices[0].UUID, s.Devices[2].UUID})
	if err != nil {
		t.Fatal(err)
	}
	defer trial.Close(context.Background())
	mine, other := newWorker(t, s), newWorker(t, s)
	mine.hold(0, 100*mib, "")
	mine.hold(2, 200*mib, "")
	other.hold(1, 900*mib, "") // on a device that is not the stack's
	trial.Owners([]gpu.Owner{{Service: "app", PID: mine.pid()}})
	u := trial.Cell().Stop()
	flagged(t, u)
	is(t, "peak", u.Peak, 308*mib)
	is(t, "stack", u.Stack, 300*mib)
	is(t, "first device", u.Devices[0].Peak, 104*mib)
	is(t, "second device", u.Devices[1].Peak, 204*mib)
	if len(u.Processes) != 1 {
		t.Errorf("processes %+v, want one", u.Processes)
	}
}

func TestSnapshotAndGate(t *testing.T) {
	s := fakedriver.New(t, 1)
	sampler := &gpu.Sampler{Driver: open(t, s), ProcessInterval: 10 * time.Millisecond, Timeout: 5 * time.Second}
	if err := sampler.WaitClean(t.Context(), []string{"0"}, nil, time.Minute); err != nil {
		t.Errorf("WaitClean of an idle device: %v", err)
	}
	w := newWorker(t, s)
	w.hold(0, 400*mib, "")
	shots, err := sampler.Snapshot(t.Context(), nil)
	if err != nil || len(shots) != 1 || len(shots[0].Holders) != 1 || shots[0].Holders[0].PID != w.pid() || shots[0].Memory.Used != 404*mib {
		t.Errorf("Snapshot = %+v, %v", shots, err)
	}
	err = sampler.WaitClean(t.Context(), []string{"0"}, nil, time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "holds 400 MiB") {
		t.Errorf("WaitClean = %v, want who holds 400 MiB", err)
	}
	w.end()
	s.Devices[0].Base = 500 * mib
	write(t, s)
	idle := map[string]int64{s.Devices[0].UUID: 4 * mib}
	err = sampler.WaitClean(t.Context(), []string{"0"}, idle, time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "496 MiB more than when it was idle") {
		t.Errorf("WaitClean = %v, want what stayed", err)
	}
}

// TestSpike: a spike of 4 GiB for 30 ms, anywhere between two samples at the
// default interval, is seen in at least 95 of 100 tries.
func TestSpike(t *testing.T) {
	const tries, want = 100, 95
	s := fakedriver.New(t, 1)
	sampler := &gpu.Sampler{Driver: open(t, s), Settle: 100 * time.Millisecond}
	trial, err := sampler.Trial(t.Context(), []string{"0"})
	if err != nil {
		t.Fatal(err)
	}
	defer trial.Close(context.Background())
	w := newWorker(t, s)
	w.hold(0, 500*mib, "")
	trial.Owners([]gpu.Owner{{Service: "app", PID: w.pid()}})
	seen := 0
	for range tries {
		cell := trial.Cell()
		w.hold(0, 500*mib+4<<30, "for 30ms")
		if u := cell.Stop(); u.Peak != nil && *u.Peak == 504*mib+4<<30 {
			seen++
		}
	}
	t.Logf("the spike was seen in %d of %d tries", seen, tries)
	if seen < want {
		t.Errorf("the spike was seen in %d of %d tries, want at least %d", seen, tries, want)
	}
}
