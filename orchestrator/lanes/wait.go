package lanes

import (
	"fmt"
	"sync"
	"time"
)

// A Wait tells of a stack for which others leave no room yet, and how long it waits.
type Wait struct {
	Told func(text string)

	mu    sync.Mutex
	since time.Time // zero: it does not wait
	sum   time.Duration
}

// For is stacks.Placing.Waits.
func (w *Wait) For(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case why != "":
		if w.since.IsZero() {
			w.since = now
		}
		w.Told("waits: " + why)
	case !w.since.IsZero():
		w.sum += now.Sub(w.since)
		w.Told(fmt.Sprintf("has room after %v", now.Sub(w.since).Round(time.Second/10)))
		w.since = time.Time{}
	}
}

// Took is how long the stack has waited.
func (w *Wait) Took() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return w.sum
	}
	return w.sum + time.Since(w.since)
}
