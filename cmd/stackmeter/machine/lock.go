package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"time"

	"stackmeter/orchestrator/lock"
	"stackmeter/scenarios/show"
)

// Lock takes the GPUs that the run uses, or the machine if it uses none, for as
// long as the run lasts. It tells what it waits for.
func Lock(ctx context.Context, tell io.Writer, run, scenario string, gpus []string, wait time.Duration) (*lock.Locks, error) {
	folder, err := lock.Folder()
	if err != nil {
		return nil, err
	}
	names := []string{lock.Machine}
	if len(gpus) > 0 {
		names = nil
		for _, uuid := range gpus {
			names = append(names, lock.GPU(uuid))
		}
	}
	holder := lock.Holder{Run: run, Scenario: scenario, PID: os.Getpid(), User: userName(), Since: time.Now()}
	holder.Host, _ = os.Hostname()
	locks, err := lock.Acquire(ctx, folder, names, holder, wait, func(held *lock.HeldError) {
		fmt.Fprintf(tell, "stackmeter: waiting: %s\n", show.Clean(held.Error()))
	})
	var held *lock.HeldError
	if errors.As(err, &held) {
		remedy := "give --wait to wait for it, or end it"
		if wait > 0 {
			remedy = fmt.Sprintf("it was still there after %v of --wait", wait)
		}
		return nil, fmt.Errorf("%s; two runs at once would measure each other: %s", show.Clean(held.Error()), remedy)
	}
	return locks, err
}

// Self is this process, as others are told of it.
func Self() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("process %d of %s on %s", os.Getpid(), userName(), host)
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return cmp.Or(u.Username, u.Uid)
	}
	return fmt.Sprint(os.Getuid())
}
