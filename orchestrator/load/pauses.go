package load

import (
	"runtime/debug"
	"time"
)

// GCPauses are the stops of the client's processes by Go's garbage collector
// while the batch ran.
type GCPauses struct {
	Count int
	Total time.Duration
	Max   time.Duration // of the last 256 of each process
}

func (p *GCPauses) add(other GCPauses) {
	p.Count += other.Count
	p.Total += other.Total
	p.Max = max(p.Max, other.Max)
}

// A pauseCount counts pauses from startPauses to stop.
type pauseCount struct{ before debug.GCStats }

func startPauses() *pauseCount {
	p := new(pauseCount)
	debug.ReadGCStats(&p.before)
	return p
}

func (p *pauseCount) stop() GCPauses {
	var after debug.GCStats
	debug.ReadGCStats(&after)
	pauses := GCPauses{Count: int(after.NumGC - p.before.NumGC), Total: after.PauseTotal - p.before.PauseTotal}
	for _, pause := range after.Pause[:min(pauses.Count, len(after.Pause))] { // the latest first
		pauses.Max = max(pauses.Max, pause)
	}
	return pauses
}
