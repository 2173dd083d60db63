//go:build !linux

package gpu

import "time"

// sleep sleeps for d.
func sleep(d time.Duration) { time.Sleep(d) }

// preferThread does nothing: threads have no priorities here.
func preferThread() {}
