//go:build linux

package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stackmeter/stacks"
)

// methodProc is the method of figures read from /proc. The memory is the sum of
// RssAnon and RssShmem of a service's processes. Like the figure of a control
// group it excludes page cache. It is an upper bound: a page that processes have
// shared since a fork counts for each of them. The proportional share (PSS) would
// count it once, but for that the kernel walks the page tables of each process at
// each sample, under the lock that the application's own allocations need.
const methodProc = "proc"

// procInterval is the target time between two samples. Each sample reads one
// small file of every process and thread.
const procInterval = 50 * time.Millisecond

// meterProc measures without control groups.
func meterProc(services []*service) stacks.Meter {
	var gauged []stacks.Gauged
	for _, one := range services {
		gauged = append(gauged, stacks.Gauged{Service: one.name, Gauge: &procService{supervisor: one.record.Supervisor}})
	}
	return stacks.StartMeter(methodProc, procInterval, gauged)
}

// A procService is the gauge of one service's processes.
type procService struct {
	supervisor identity
}

// Memory implements stacks.Gauge.
func (s *procService) Memory() (int64, error) {
	memory, _, err := s.read()
	return memory, err
}

// CPU implements stacks.Gauge.
func (s *procService) CPU() (time.Duration, error) {
	_, cpu, err := s.read()
	return cpu, err
}

// Halted implements stacks.Gauge.
func (s *procService) Halted() string {
	members, _ := below(s.supervisor.PID) // fails when it is gone
	pids := make([]int, len(members))
	for i, m := range members {
		pids[i] = m.PID
	}
	return stacks.Halted(pids)
}

// Begin implements stacks.Gauge. Without a control group the kernel keeps no mark
// and counts no kills.
func (s *procService) Begin() {}

// End implements stacks.Gauge.
func (s *procService) End() (mark *int64, kills int) { return nil, 0 }

// read returns the memory that the processes of a service hold now, in bytes, and
// the CPU time that they have used so far. This includes processes that have
// ended: their time goes to whoever waits for them, in the end the supervisor.
func (s *procService) read() (memory int64, cpu time.Duration, err error) {
	self, err := readMember(s.supervisor.PID)
	if err != nil {
		return 0, 0, err
	}
	if self.Start != s.supervisor.Start || self.zombie {
		return 0, 0, fmt.Errorf("its supervisor, process %d, has ended", s.supervisor.PID)
	}
	members, err := below(s.supervisor.PID)
	if err != nil {
		return 0, 0, err
	}
	cpu = self.waited
	running := 0
	for _, m := range members {
		cpu += m.cpu + m.waited
		held, err := held(m.PID)
		if err != nil || m.zombie {
			continue // ended meanwhile: it holds nothing
		}
		memory += held
		running++
	}
	if running == 0 {
		return 0, cpu, fmt.Errorf("none of its processes runs")
	}
	return memory, cpu, nil
}

// held returns the memory of one process without page cache, in bytes
// (proc_pid_status(5)).
func held(pid int) (int64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	var sum int64
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		kib, err := strconv.ParseInt(strings.Trim(value, " \tkB\n"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/status: %w", pid, err)
		}
		sum += kib << 10
	}
	return sum, nil
}
