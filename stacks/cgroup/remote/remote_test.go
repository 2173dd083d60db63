//go:build linux

package remote

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/stacks"
)

const (
	version = "1.2.3"
	mib     = int64(1) << 20
)

// A machine is the other side, with folders that look like control groups of version 2.
type machine struct {
	t    *testing.T
	root string
}

// container makes the group of one, which has a process.
func (m machine) container(id string) {
	m.t.Helper()
	sleep := exec.Command("sleep", "600")
	if err := sleep.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
	})
	if err := os.MkdirAll(filepath.Join(m.root, "kubepods", id), 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.write(id, "cgroup.procs", fmt.Sprintln(sleep.Process.Pid))
	m.write(id, "cgroup.events", "populated 1\nfrozen 0\n")
	m.uses(id, 0, 0, 0, 0)
}

// uses has the group of a container say what it uses.
func (m machine) uses(id string, memory, cache int64, cpu time.Duration, kills int) {
	m.t.Helper()
	m.write(id, "memory.current", fmt.Sprintln(memory+cache))
	m.write(id, "memory.stat", fmt.Sprintf("anon %d\nfile %d\nshmem 0\n", memory, cache))
	m.write(id, "cpu.stat", fmt.Sprintf("usage_usec %d\n", cpu.Microseconds()))
	m.write(id, "memory.events", fmt.Sprintf("oom %d\noom_kill %d\n", kills, kills))
}

// write replaces a file at once: a reader sees the one before or this one.
func (m machine) write(id, file, text string) {
	m.t.Helper()
	name := filepath.Join(m.root, "kubepods", id, file)
	if err := os.WriteFile(name+".new", []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		m.t.Fatal(err)
	}
}

// serve is the end of a stream, whose other end is the machine's.
func (m machine) serve() net.Conn {
	here, there := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(there, m.root, version) }()
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

// TestSession: what the services use on another machine is read there: memory without
// page cache over all of them, CPU time, kills, and that one of them is frozen.
func TestSession(t *testing.T) {
	m := machine{t, t.TempDir()}
	m.container("aaaa")
	m.container("bbbb")
	task := Task{Version: version, Services: []Service{{"app", "aaaa"}, {"nginx", "bbbb"}}}
	s, err := Begin(t.Context(), m.serve(), task)
	if err != nil {
		t.Fatal(err)
	}
	for _, peak := range []int64{300 * mib, 100 * mib} {
		m.uses("aaaa", 50*mib, 10*mib, time.Second, 1)
		m.uses("bbbb", 5*mib, 0, time.Second, 0)
		meter, err := s.Meter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.uses("aaaa", peak, 900*mib, 3*time.Second, 2)
		time.Sleep(100 * time.Millisecond)
		m.uses("bbbb", 5*mib, 0, 1500*time.Millisecond, 0)
		if err := meter.Halted(); err != nil {
			t.Error(err)
		}
		r := meter.Stop()
		if r.Method != "agent-cgroup-v2" || r.Memory == nil || *r.Memory != peak+5*mib || r.Start == nil || *r.Start != 55*mib || r.Samples < 3 || len(r.Series) != r.Samples || r.Reason != "" || r.Inside {
			t.Errorf("%+v, memory %v", r, r.Memory)
		}
		if r.CPU == nil || *r.CPU != 2500*time.Millisecond || r.OOMKills != 1 || r.Services["app"] != peak || r.Services["nginx"] != 5*mib {
			t.Errorf("%+v, CPU %v", r, r.CPU)
		}
		if again := meter.Stop(); again.Samples != r.Samples {
			t.Errorf("stopped again: %+v", again)
		}
	}
	if used, err := s.CPU(t.Context()); err != nil || used != 4500*time.Millisecond {
		t.Errorf("CPU %v, %v", used, err)
	}
	meter, err := s.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.write("bbbb", "cgroup.events", "populated 1\nfrozen 1\n")
	meter.Stop()
	if err := meter.Halted(); !errors.Is(err, stacks.ErrDisturbed) || !strings.Contains(err.Error(), "nginx") || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("frozen: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNoSession: an agent that cannot meter says why, and one that is gone leaves no
// figure.
func TestNoSession(t *testing.T) {
	m := machine{t, t.TempDir()}
	m.container("aaaa")
	task := Task{Version: version, Services: []Service{{"app", "aaaa"}}}
	if _, err := Begin(t.Context(), m.serve(), Task{Version: "1.2.4"}); err == nil || !strings.Contains(err.Error(), "1.2.3") || !strings.Contains(err.Error(), "image anew") {
		t.Errorf("another version: %v", err)
	}
	if _, err := Begin(t.Context(), m.serve(), Task{Version: version, Services: []Service{{"app", "cccc"}}}); err == nil || !strings.Contains(err.Error(), "service app: control group of container cccc") {
		t.Errorf("no such container: %v", err)
	}
	stream := m.serve()
	s, err := Begin(t.Context(), stream, task)
	if err != nil {
		t.Fatal(err)
	}
	meter, err := s.Meter(t.Context())
	if err != nil || s.Lost() != nil {
		t.Fatal(err, s.Lost())
	}
	stream.Close()
	if r := meter.Stop(); r.Memory != nil || r.CPU != nil || r.Method != "" || !strings.Contains(r.Reason, "stream") {
		t.Errorf("gone amid a measurement: %+v", r)
	}
	if _, err := s.Meter(t.Context()); err == nil || s.Lost() == nil {
		t.Error("it is gone, and meters")
	}
}
