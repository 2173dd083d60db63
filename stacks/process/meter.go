//go:build linux

package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"stackmeter/stacks"
)

// MethodProc is the method of figures that are read from /proc: the memory is
// the sum of RssAnon and RssShmem of a service's processes, which like the
// figure of a control group holds no page cache. A page that processes share
// since a fork is counted for each of them, so it is an upper bound. The
// proportional share (PSS) would count it once, but to know it the kernel
// walks the page tables of each process at each sample, under the lock that
// the application's own allocations need.
const MethodProc = "proc"

// procInterval is the target time between two samples. Each sample reads one
// small file of every process and thread.
const procInterval = 50 * time.Millisecond

// A procMeter measures without control groups.
type procMeter struct {
	services []*procService
	quit     chan struct{}
	finished chan struct{}
	once     sync.Once
	usage    stacks.Usage

	// Written by the sampling goroutine, read once it has finished.
	start, peak *int64
	samples     int
	maxGap      time.Duration
	last        time.Time
	failed      error // the first failure to read memory
}

type procService struct {
	name       string
	supervisor identity
	peak       *int64
	cpu        time.Duration // at the start
	cpuErr     error
}

func meterProc(services []*service) stacks.Meter {
	m := &procMeter{quit: make(chan struct{}), finished: make(chan struct{})}
	for _, one := range services {
		s := &procService{name: one.name, supervisor: one.record.Supervisor}
		_, s.cpu, s.cpuErr = s.read()
		m.services = append(m.services, s)
	}
	m.sample()
	go m.run()
	return m
}

func (m *procMeter) run() {
	defer close(m.finished)
	tick := time.NewTicker(procInterval)
	defer tick.Stop()
	for {
		select {
		case <-m.quit:
			m.sample()
			return
		case <-tick.C:
			m.sample()
		}
	}
}

// sample reads every service once. A sample without one of them is none: the
// sum would be too small.
func (m *procMeter) sample() {
	now := time.Now()
	sum := int64(0)
	for _, s := range m.services {
		used, _, err := s.read()
		if err != nil {
			if m.failed == nil {
				m.failed = fmt.Errorf("service %s: %w", s.name, err)
			}
			return
		}
		s.peak = larger(s.peak, used)
		sum += used
	}
	if m.samples > 0 {
		m.maxGap = max(m.maxGap, now.Sub(m.last))
	} else {
		m.start = &sum
	}
	m.last = now
	m.samples++
	m.peak = larger(m.peak, sum)
}

func larger(peak *int64, v int64) *int64 {
	if peak == nil || v > *peak {
		return &v
	}
	return peak
}

// Stop implements stacks.Meter.
func (m *procMeter) Stop() stacks.Usage {
	m.once.Do(func() {
		close(m.quit)
		<-m.finished
		m.usage = m.total()
	})
	return m.usage
}

func (m *procMeter) total() stacks.Usage {
	u := stacks.Usage{
		Method: MethodProc, Memory: m.peak, Start: m.start,
		Samples: m.samples, MaxGap: m.maxGap,
	}
	if m.failed != nil {
		u.Reason = "memory was not read to the end: " + m.failed.Error()
	}
	var cpu time.Duration
	known := len(m.services) > 0
	for _, s := range m.services {
		one := stacks.ServiceUsage{Service: s.name, Memory: s.peak}
		if _, now, err := s.read(); err == nil && s.cpuErr == nil {
			// A child whose parent does not wait for it takes its time along.
			used := max(0, now-s.cpu)
			one.CPU = &used
			cpu += used
		} else {
			known = false
		}
		u.Services = append(u.Services, one)
	}
	if known {
		u.CPU = &cpu
	}
	return u
}

// read is what the processes of a service hold now, in bytes, and the CPU time
// that they have used so far, with that of those that have ended: a process's
// time goes to whoever waits for it, in the end the supervisor.
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

// held is the memory of one process without page cache, in bytes
// (proc_pid_status(5)).
func held(pid int) (int64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	var sum int64
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/status: %w", pid, err)
		}
		sum += kib << 10
	}
	return sum, lines.Err()
}
