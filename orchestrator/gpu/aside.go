package gpu

import (
	"context"
	"fmt"
	"time"
)

// Aside asks the driver something and waits for the answer until ctx ends, at
// most for the limit; its error is then ctx's cause, or says that the driver
// did not answer. A driver that hangs cannot be interrupted: the question is
// left behind.
func Aside[T any](ctx context.Context, limit time.Duration, ask func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1) // nobody may wait any more
	go func() {
		value, err := ask()
		done <- answer{value, err}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	var none T
	select {
	case got := <-done:
		return got.value, got.err
	case <-late.C:
		return none, fmt.Errorf("the GPU driver did not answer within %v", limit)
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
