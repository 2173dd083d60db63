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
	"stackmeter/stacks/cgroup"
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
	freezer := cgroup.NewFreezer()
	for _, one := range services {
		gauged = append(gauged, stacks.Gauged{Service: one.name, Gauge: &procService{one.record.Supervisor, freezer}})
	}
	return stacks.StartMeter(methodProc, procInterval, gauged)
}

// cpuProc is the CPU time that the services have used so far.
func cpuProc(services []*service) (time.Duration, error) {
	var sum time.Duration
	for _, one := range services {
		used, err := (&procService{supervisor: one.record.Supervisor}).CPU()
		if err != nil {
			return 0, fmt.Errorf("service %s: %w", one.name, err)
		}
		sum += used
	}
	return sum, nil
}

// A procService is the gauge of one service's processes.
type procService struct {
	supervisor identity
	freezer    *cgroup.Freezer
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
	var pids []int
	for _, m := range below(s.supervisor.PID) {
		pids = append(pids, m.PID)
	}
	return s.freezer.Halted(pids)
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
	cpu = self.waited
	running := 0
	for _, m := range below(s.supervisor.PID) {
		cpu += m.cpu + m.waited
		status := table(m.PID, "status")
		if len(status) == 0 || m.zombie {
			continue // ended meanwhile: it holds nothing
		}
		memory += (status["RssAnon"] + status["RssShmem"]) << 10
		running++
	}
	if running == 0 {
		return 0, cpu, fmt.Errorf("none of its processes runs")
	}
	return memory, cpu, nil
}

// table reads a file about a process whose lines are "name: value", perhaps with a unit
// (proc_pid_status(5), proc_pid_io(5)). It is empty if the process is gone.
func table(pid int, file string) map[string]int64 {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	values := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseInt(strings.Trim(value, " \tkB\n"), 10, 64); err == nil {
			values[name] = n
		}
	}
	return values
}
