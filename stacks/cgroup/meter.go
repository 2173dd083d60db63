package cgroup

import (
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
	var gauged []stacks.Gauged
	method := ""
	for _, s := range services {
		method = s.Group.Method
		gauged = append(gauged, stacks.Gauged{Service: s.Name, Gauge: &gauge{Group: s.Group}})
	}
	return stacks.StartMeter(method, Interval, gauged)
}

// A gauge reads one group.
type gauge struct {
	Group
	mark  *peak
	kills int // before the measurement; -1: not known
}

func (g *gauge) Begin() {
	g.mark = g.Group.peak()
	var err error
	if g.kills, err = g.OOMKills(); err != nil {
		g.kills = -1
	}
}

func (g *gauge) End() (mark *int64, kills int) {
	now, err := g.OOMKills()
	if err != nil || g.kills < 0 {
		return g.mark.stop(), 0
	}
	return g.mark.stop(), now - g.kills
}
