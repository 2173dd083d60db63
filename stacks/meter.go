package stacks

import (
	"fmt"
	"sync"
	"time"
)

// A Gauge reads what one service of a stack uses. Its methods are called by
// one goroutine at a time.
type Gauge interface {
	// Memory is what the service holds now, in bytes, without page cache.
	Memory() (int64, error)

	// CPU is the CPU time that the service has used so far, user and system.
	CPU() (time.Duration, error)

	// Begin begins a new high-water mark of the kernel's, where it keeps one,
	// and the count of out-of-memory kills.
	Begin()

	// End returns the mark since Begin in bytes, nil where there is none, and
	// how many processes were killed for memory since then.
	End() (mark *int64, kills int)
}

// A Gauged is a service with its gauge.
type Gauged struct {
	Service string
	Gauge   Gauge
}

// StartMeter samples the memory of a stack's services, all of them at each
// interval, until the meter is stopped. method says how the gauges obtain it.
func StartMeter(method string, interval time.Duration, services []Gauged) Meter {
	m := &meter{method: method, interval: interval, quit: make(chan struct{}), finished: make(chan struct{})}
	for _, s := range services {
		one := &metered{Gauged: s}
		s.Gauge.Begin()
		one.cpu, one.cpuErr = s.Gauge.CPU()
		m.services = append(m.services, one)
	}
	m.began = time.Now()
	m.sample()
	go m.run()
	return m
}

type meter struct {
	method   string
	interval time.Duration
	services []*metered
	quit     chan struct{}
	finished chan struct{}
	once     sync.Once
	usage    Usage

	// Written by the sampling goroutine, read once it has finished.
	start, peak *int64
	began       time.Time
	series      []Sample
	samples     int
	maxGap      time.Duration
	last        time.Time
	failed      error // the first failure to read memory
}

type metered struct {
	Gauged
	peak   *int64
	cpu    time.Duration // at the start
	cpuErr error
}

func (m *meter) run() {
	defer close(m.finished)
	tick := time.NewTicker(m.interval)
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
		used, err := s.Gauge.Memory()
		if err != nil {
			if m.failed == nil {
				m.failed = fmt.Errorf("service %s: %w", s.Service, err)
			}
			m.series = append(m.series, Sample{At: now.Sub(m.began)})
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
	m.series = append(m.series, Sample{At: now.Sub(m.began), Memory: &sum})
	m.peak = larger(m.peak, sum)
}

func larger(peak *int64, v int64) *int64 {
	if peak == nil || v > *peak {
		return &v
	}
	return peak
}

// Stop implements Meter.
func (m *meter) Stop() Usage {
	m.once.Do(func() {
		close(m.quit)
		<-m.finished
		m.usage = m.total()
	})
	return m.usage
}

// total adds the services up. A sum that lacks one of them is not known.
func (m *meter) total() Usage {
	u := Usage{
		Method: m.method, Memory: m.peak, Start: m.start,
		Samples: m.samples, MaxGap: m.maxGap, Series: m.series,
	}
	if m.failed != nil {
		u.Reason = "memory was not read to the end: " + m.failed.Error()
	}
	var cpu time.Duration
	var mark int64
	cpuKnown, markKnown := len(m.services) > 0, len(m.services) > 0
	for _, s := range m.services {
		one := ServiceUsage{Service: s.Service, Memory: s.peak}
		if now, err := s.Gauge.CPU(); err == nil && s.cpuErr == nil {
			// What was read of /proc can lose the time of a child that nobody
			// waited for.
			used := max(0, now-s.cpu)
			one.CPU = &used
			cpu += used
		} else {
			cpuKnown = false
		}
		kernel, kills := s.Gauge.End()
		if kernel != nil {
			mark += *kernel
		} else {
			markKnown = false
		}
		u.OOMKills += kills
		u.Services = append(u.Services, one)
	}
	if cpuKnown {
		u.CPU = &cpu
	}
	if markKnown {
		u.KernelPeak = &mark
	}
	return u
}
