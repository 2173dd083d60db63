//go:build linux && cgo

package remote

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
)

const (
	mib     = int64(1) << 20
	base    = 4 * mib // of the fake driver's devices
	version = "1.2.3"
)

// A machine is the other side, with a FAKE device.
type machine struct {
	t       *testing.T
	state   *fakedriver.State
	sampler *gpu.Sampler
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, state: fakedriver.New(t, 1)}
	library := fakedriver.Build(t, fakedriver.Current)
	t.Setenv(fakedriver.Env, m.state.Folder)
	driver, err := nvml.Open(library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { driver.Close() })
	m.sampler = &gpu.Sampler{Driver: driver, Interval: 5 * time.Millisecond, ProcessInterval: 20 * time.Millisecond, Timeout: 5 * time.Second, Settle: 5 * time.Second}
	return m
}

// serve is the end of a stream, whose other end is the machine's.
func (m *machine) serve(sampler *gpu.Sampler) net.Conn {
	here, there := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(there, sampler, "there is no driver", version) }()
	m.t.Cleanup(func() {
		here.Close()
		select {
		case err := <-ended:
			if err != nil {
				m.t.Error(err)
			}
		case <-time.After(20 * time.Second):
			m.t.Error("the agent goes on though its stream ended")
		}
	})
	return here
}

func (m *machine) task() Task {
	return Task{Version: version, Devices: []string{m.state.Devices[0].UUID}}
}

// process is one that lives until the test ends.
func (m *machine) process() uint32 {
	m.t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return uint32(cmd.Process.Pid)
}

// hold has processes hold memory.
func (m *machine) hold(held ...fakedriver.Process) {
	m.t.Helper()
	m.state.Processes = held
	if err := m.state.Write(); err != nil {
		m.t.Fatal(err)
	}
}

func is(t *testing.T, what string, got *int64, want int64) {
	t.Helper()
	if got == nil || *got != want {
		t.Errorf("%s: %v, want %d", what, got, want)
	}
}

// TestSession: the figures are those of a trial on the other machine, zeros included, of
// a stack with one trial and of one whose cells have one each.
func TestSession(t *testing.T) {
	for _, stays := range []bool{false, true} {
		m := newMachine(t)
		pid := m.process()
		task := m.task()
		task.Stays = stays
		s, err := Begin(t.Context(), m.serve(m.sampler), task)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Devices) != 1 || s.Devices[0].UUID != task.Devices[0] || s.Devices[0].Name == "" || s.Devices[0].Memory == 0 || !s.Devices[0].Fake {
			t.Errorf("devices %+v", s.Devices)
		}
		m.hold(fakedriver.Process{PID: pid, Bytes: 300 * mib})
		s.Phase(gpu.PhaseWarmup)
		s.Owners([]gpu.Owner{{Service: "app", Role: "app", PID: int(pid)}})
		is(t, "used", s.Used(t.Context()), base+300*mib)
		for _, peak := range []int64{700 * mib, 500 * mib} {
			if err := s.Measure(t.Context()); err != nil {
				t.Fatal(err)
			}
			m.hold(fakedriver.Process{PID: pid, Bytes: peak})
			time.Sleep(100 * time.Millisecond)
			u := s.Stop()
			is(t, "baseline", u.Baseline, base)
			is(t, "spread of the baseline", u.BaselineSpread, 0)
			is(t, "peak", u.Peak, base+max(peak, *u.Start-base))
			is(t, "of the stack", u.Stack, max(peak, *u.Start-base))
			if u.Validity != gpu.Flagged || !slices.Contains(u.Flags, gpu.FlagFakeDriver) || len(u.Services) != 1 || u.Services[0].Service != "app" || len(u.Processes) != 1 || u.Processes[0].Start == 0 {
				t.Errorf("%+v", u)
			}
		}
		m.hold()
		s.Phase(gpu.PhaseTeardown)
		after, err := s.Close(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if is := after.Back && len(after.Series) > 0 && after.Marks[1].Phase == gpu.PhaseStartup; is == stays {
			t.Errorf("stays %v: %+v", stays, after)
		}
	}
}

// TestNotAlone: who else is on the device is told before the stack starts, and before a
// cell.
func TestNotAlone(t *testing.T) {
	m := newMachine(t)
	pid := m.process()
	m.hold(fakedriver.Process{PID: pid, Bytes: 300 * mib})
	if _, err := Begin(t.Context(), m.serve(m.sampler), m.task()); err == nil || errors.Is(err, ErrUnsampled) || !strings.Contains(err.Error(), "(sleep) holds 300 MiB") {
		t.Errorf("before the stack: %v", err)
	}
	m.hold()
	s, err := Begin(t.Context(), m.serve(m.sampler), m.task())
	if err != nil {
		t.Fatal(err)
	}
	m.hold(fakedriver.Process{PID: pid, Bytes: 300 * mib})
	if err := s.Measure(t.Context()); err == nil || errors.Is(err, ErrUnsampled) || !strings.Contains(err.Error(), "(sleep) holds 300 MiB") {
		t.Errorf("before a cell: %v", err)
	}
	if used := s.Stop(); used.Validity != gpu.Invalid || used.Peak != nil {
		t.Errorf("nothing is measured: %+v", used)
	}
}

// TestUnsampled: an agent that cannot sample says why, and one that is gone leaves no
// figure.
func TestUnsampled(t *testing.T) {
	m := newMachine(t)
	if _, err := Begin(t.Context(), m.serve(nil), m.task()); !errors.Is(err, ErrUnsampled) || !strings.Contains(err.Error(), "there is no driver") {
		t.Errorf("without a driver: %v", err)
	}
	other := m.task()
	other.Version = "1.2.4"
	if _, err := Begin(t.Context(), m.serve(m.sampler), other); !errors.Is(err, ErrUnsampled) || !strings.Contains(err.Error(), "1.2.3") || !strings.Contains(err.Error(), "image anew") {
		t.Errorf("another version: %v", err)
	}
	stream := m.serve(m.sampler)
	s, err := Begin(t.Context(), stream, m.task())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	stream.Close()
	if used := s.Stop(); used.Validity != gpu.Invalid || used.Peak != nil || !strings.Contains(used.Reason, "its stream ended") {
		t.Errorf("gone amid a cell: %+v", used)
	}
	if err := s.Measure(t.Context()); !errors.Is(err, ErrUnsampled) {
		t.Errorf("the next cell: %v", err)
	}
	if after, err := s.Close(t.Context()); after.Back || !strings.Contains(after.Reason, "its stream ended") || err != nil {
		t.Errorf("after it: %+v, %v", after, err)
	}
}

// TestWaitEnds: a run that is cancelled while it waits for a device waits no longer, and
// neither does the agent.
func TestWaitEnds(t *testing.T) {
	m := newMachine(t)
	m.hold(fakedriver.Process{PID: m.process(), Bytes: 300 * mib})
	task := m.task()
	task.Wait = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Begin(ctx, m.serve(m.sampler), task); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
