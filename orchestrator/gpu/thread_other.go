//go:build !linux

package gpu

import "time"

// sleep sleeps.
func sleep(d time.Duration) { time.Sleep(d) }

// preferThread does nothing: this system has no priorities of threads.
func preferThread() {}
