package stacks

import (
	"context"
	"sync"
	"time"
)

// Settle waits until nobody holds making any more, as calls of this process do while
// they make an object. It waits no longer than patience, and leaves half of the
// context's time for what follows.
func Settle(ctx context.Context, making sync.Locker, patience time.Duration) {
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	settled := make(chan struct{})
	go func() {
		making.Lock()
		defer making.Unlock()
		close(settled)
	}()
	select {
	case <-settled:
	case <-ctx.Done():
	case <-time.After(patience):
	}
}
