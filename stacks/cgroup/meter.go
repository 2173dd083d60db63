package cgroup

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"stackmeter/stacks"
)

// Interval is the target time between two samples of memory.
const Interval = 20 * time.Millisecond

// A Service is a named group of a stack.
type Service struct {
	Name  string
	Group Group
}

// Start meters the services of a stack until the meter is stopped.
func Start(services []Service) stacks.Meter {
	m := &meter{quit: make(chan struct{}), finished: make(chan struct{})}
	for _, s := range services {
		one := &service{Service: s, mark: s.Group.peak()}
		one.cpu, one.cpuErr = s.Group.CPU()
		one.kills, _ = s.Group.OOMKills()
		m.services = append(m.services, one)
	}
	m.sample()
	go m.run()
	return m
}

type meter struct {
	services []*service
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

type service struct {
	Service
	mark   *peak
	peak   *int64
	cpu    time.Duration
	cpuErr error
	kills  int
}

func (m *meter) run() {
	defer close(m.finished)
	tick := time.NewTicker(Interval)
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
func (m *meter) sample() {
	now := time.Now()
	sum := int64(0)
	for _, s := range m.services {
		used, err := s.Group.Memory()
		if err != nil {
			if m.failed == nil {
				m.failed = fmt.Errorf("service %s: %w", s.Name, err)
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

func (m *meter) Stop() stacks.Usage {
	m.once.Do(func() {
		close(m.quit)
		<-m.finished
		m.usage = m.total()
	})
	return m.usage
}

func (m *meter) total() stacks.Usage {
	u := stacks.Usage{
		Memory: m.peak, Start: m.start,
		Samples: m.samples, MaxGap: m.maxGap,
	}
	if m.failed != nil {
		u.Reason = "memory was not read to the end: " + m.failed.Error()
	}
	var cpu time.Duration
	var kernel int64
	cpuKnown, kernelKnown := true, true
	for _, s := range m.services {
		u.Method = s.Group.Method
		one := stacks.ServiceUsage{Service: s.Name, Memory: s.peak}
		if now, err := s.Group.CPU(); err == nil && s.cpuErr == nil {
			used := now - s.cpu
			one.CPU = &used
			cpu += used
		} else {
			cpuKnown = false
		}
		if mark := s.mark.stop(); mark != nil {
			kernel += *mark
		} else {
			kernelKnown = false
		}
		if kills, err := s.Group.OOMKills(); err == nil {
			u.OOMKills += kills - s.kills
		}
		u.Services = append(u.Services, one)
	}
	u.Services = slices.Clip(u.Services)
	if cpuKnown && len(m.services) > 0 {
		u.CPU = &cpu
	}
	if kernelKnown && len(m.services) > 0 {
		u.KernelPeak = &kernel
	}
	return u
}
