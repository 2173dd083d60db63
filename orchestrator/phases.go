package orchestrator

import (
	"maps"
	"sync"
	"time"
)

// phases are what wall time went into. Those of a lane are its own: lanes are in
// several phases at the same time.
type phases struct {
	timing sync.Mutex               // held while spent is used
	spent  map[string]time.Duration // by phase, since they were last taken
}

// spend measures a phase until the returned function is called.
func (p *phases) spend(phase string) (done func()) {
	began := time.Now()
	return func() { p.took(phase, time.Since(began)) }
}

// took adds to the time of a phase.
func (p *phases) took(phase string, d time.Duration) {
	p.timing.Lock()
	defer p.timing.Unlock()
	if p.spent == nil {
		p.spent = map[string]time.Duration{}
	}
	p.spent[phase] += d
}

// together does things at the same time, each of which measures its phases. Together
// they count for no more than the time that passes.
func (p *phases) together(do ...func()) {
	before, began := maps.Clone(p.spent), time.Now()
	var all sync.WaitGroup
	for _, one := range do {
		all.Go(one)
	}
	all.Wait()
	passed, sum := time.Since(began), time.Duration(0)
	for phase, d := range p.spent {
		sum += d - before[phase]
	}
	for phase, d := range p.spent {
		if sum > passed {
			p.spent[phase] = before[phase] + time.Duration(float64(d-before[phase])*float64(passed)/float64(sum))
		}
	}
}

// take returns what was spent since it was last called.
func (p *phases) take() map[string]time.Duration {
	p.timing.Lock()
	defer p.timing.Unlock()
	spent := p.spent
	p.spent = nil
	return spent
}
