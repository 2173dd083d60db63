package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stackmeter/stacks"
)

// interval is the target time between two samples of memory.
const interval = 20 * time.Millisecond

// A Service is a named group of a stack.
type Service struct {
	Name  string
	Group Group
}

// Start meters the services of a stack until the meter is stopped.
func Start(services []Service) stacks.Meter {
	var gauged []stacks.Gauged
	method, freezer := "", NewFreezer()
	for _, s := range services {
		method = s.Group.Method
		gauged = append(gauged, stacks.Gauged{Service: s.Name, Gauge: &gauge{Group: s.Group, freezer: freezer}})
	}
	return stacks.StartMeter(method, interval, gauged)
}

// CPU is the CPU time that the services of a stack have used so far.
func CPU(services []Service) (time.Duration, error) {
	var sum time.Duration
	for _, s := range services {
		used, err := s.Group.CPU()
		if err != nil {
			return 0, fmt.Errorf("service %s: %w", s.Name, err)
		}
		sum += used
	}
	return sum, nil
}

// A gauge reads one group.
type gauge struct {
	Group
	freezer *Freezer
	mark    *peak
	kills   int // before the measurement; -1: not known
}

func (g *gauge) Halted() string {
	if g.Group.freezer != "" && g.freezer.thawing(g.Group.freezer) {
		return frozen
	}
	return g.freezer.Halted(Processes([]string{g.memory}))
}

func (g *gauge) Begin() {
	g.mark, g.kills = g.Group.peak(), Killed([]string{g.memory})
}

func (g *gauge) End() (mark *int64, kills int) {
	if now := Killed([]string{g.memory}); now >= 0 && g.kills >= 0 {
		kills = now - g.kills
	}
	return g.mark.stop(), kills
}

// A peak is the kernel's high-water mark of a group from its creation on, page
// cache included. The kernel cannot always start a new mark (version 2 before
// Linux 6.12). The mark of the group's whole life then counts only if it rose.
type peak struct {
	group  Group
	file   *os.File // version 2: writing to it starts a mark that only this descriptor reads
	before int64    // the mark so far, if no new one could be started
	reset  bool
}

func (g Group) peak() *peak {
	p := &peak{group: g}
	if g.Method == methodV1 {
		p.reset = os.WriteFile(filepath.Join(g.memory, "memory.max_usage_in_bytes"), []byte("0"), 0) == nil
	} else if f, err := os.OpenFile(filepath.Join(g.memory, "memory.peak"), os.O_RDWR, 0); err == nil {
		p.file = f
		_, err := f.WriteString("reset\n")
		p.reset = err == nil
	}
	if !p.reset {
		p.before, _ = p.read()
	}
	return p
}

// stop returns the high-water mark in bytes, nil when the kernel does not say.
func (p *peak) stop() *int64 {
	mark, err := p.read()
	if p.file != nil {
		p.file.Close()
	}
	if err != nil || !p.reset && mark <= p.before {
		return nil
	}
	return &mark
}

func (p *peak) read() (int64, error) {
	if p.group.Method == methodV1 {
		return number(p.group.memory, "memory.max_usage_in_bytes")
	}
	if p.file == nil {
		return number(p.group.memory, "memory.peak")
	}
	buf := make([]byte, 32)
	n, err := p.file.ReadAt(buf, 0)
	if n == 0 {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(buf[:n])), 10, 64)
}
