package stacks

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Meter measures a stack between Stack.Meter and Stop.
type Meter interface {
	// Stop ends the measurement. It may be called more than once and then
	// returns the first result.
	Stop() Reading

	// Halted says that somebody halted a service, once that was noticed; it wraps
	// ErrDisturbed. It is safe for concurrent use.
	Halted() error
}

// A Reading is what a stack used while it was metered. A pointer is nil where
// nothing was measured; Reason then says why.
type Reading struct {
	Method     string           // how the memory was obtained
	Inside     bool             // the stack itself was asked, because nothing else on its machine could look
	Memory     *int64           // bytes, without page cache: the sum over the services, at its peak
	KernelPeak *int64           // bytes, with page cache: the sum of the high-water marks that the kernel kept of the services
	Start      *int64           // bytes: Memory at the first sample
	CPU        *time.Duration   // CPU time of all services, user and system
	OOMKills   int              // processes of the stack that the kernel killed for memory
	Services   map[string]int64 // bytes, by name: each service's own peak
	Samples    int
	MaxGap     time.Duration // longest time between two samples
	Series     []Sample      // every sample in the order of time; Memory is the largest of them
	Reason     string
}

// A Sample is the memory of a stack at one moment.
type Sample struct {
	At     time.Duration // since the metering began
	Memory *int64        // bytes, without page cache: the sum over the services; nil if one of them could not be read
}

// A Gauge reads what one service of a stack uses. Its methods are called by
// one goroutine at a time.
type Gauge interface {
	// Memory is what the service holds now, in bytes, without page cache.
	Memory() (int64, error)

	// Halted says by what something of the service is kept from running: a signal, a
	// debugger or the freezer; empty if nothing is.
	Halted() string

	// CPU is the CPU time that the service has used so far, user and system.
	CPU() (time.Duration, error)

	// Begin starts a new high-water mark in the kernel, where it keeps one, and
	// the count of out-of-memory kills.
	Begin()

	// End returns the mark since Begin in bytes, nil where there is none, and
	// the number of processes killed for memory since then.
	End() (mark *int64, kills int)
}

// A Gauged is a service with its gauge.
type Gauged struct {
	Service string
	Gauge   Gauge
}

// StartMeter samples the memory of all services at each interval until the
// meter is stopped. method says how the gauges obtain it.
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

// haltInterval is the least time between two looks whether something is halted. Each
// reads one small file of every process.
const haltInterval = 100 * time.Millisecond

type meter struct {
	method   string
	interval time.Duration
	services []*metered
	quit     chan struct{}
	finished chan struct{}
	once     sync.Once
	reading  Reading
	halted   atomic.Value // an error

	// Written by the sampling goroutine, read once it has finished.
	start, peak *int64
	began       time.Time
	series      []Sample
	samples     int
	looked      time.Time // when it was last looked whether something is halted
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
			m.looked = time.Time{} // whether something is halted at the very end
			m.sample()
			return
		case <-tick.C:
			m.sample()
		}
	}
}

// sample reads every service once. If one of them cannot be read, the sample
// has no figure: the sum would be too small.
func (m *meter) sample() {
	now := time.Now()
	sum := int64(0)
	look := m.Halted() == nil && now.Sub(m.looked) >= haltInterval
	if look {
		m.looked = now
	}
	for _, s := range m.services {
		if look {
			if why := s.Gauge.Halted(); why != "" {
				m.halted.Store(fmt.Errorf("service %s %w: %s", s.Service, ErrDisturbed, why))
			}
		}
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

// Halted implements Meter.
func (m *meter) Halted() error {
	err, _ := m.halted.Load().(error)
	return err
}

// Stop implements Meter.
func (m *meter) Stop() Reading {
	m.once.Do(func() {
		close(m.quit)
		<-m.finished
		m.reading = m.total()
	})
	return m.reading
}

// total adds the services up. A sum that lacks one of them is not known.
func (m *meter) total() Reading {
	r := Reading{
		Method: m.method, Memory: m.peak, Start: m.start,
		Samples: m.samples, MaxGap: m.maxGap, Series: m.series,
	}
	if m.failed != nil {
		r.Reason = "memory was not read to the end: " + m.failed.Error()
	}
	var cpu time.Duration
	var mark int64
	cpuKnown, markKnown := len(m.services) > 0, len(m.services) > 0
	for _, s := range m.services {
		if now, err := s.Gauge.CPU(); err == nil && s.cpuErr == nil {
			// /proc loses the time of a child that nobody waited for: the
			// difference can be below 0.
			cpu += max(0, now-s.cpu)
		} else {
			cpuKnown = false
		}
		kernel, kills := s.Gauge.End()
		if kernel != nil {
			mark += *kernel
		} else {
			markKnown = false
		}
		r.OOMKills += kills
		if s.peak != nil {
			if r.Services == nil {
				r.Services = map[string]int64{}
			}
			r.Services[s.Service] = *s.peak
		}
	}
	if cpuKnown {
		r.CPU = &cpu
	}
	if markKnown {
		r.KernelPeak = &mark
	}
	return r
}
