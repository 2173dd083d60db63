package load

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Open files of a batch.
const (
	filesOfProcess = 4  // of a client process here: its three pipes, and what waits for its end
	filesBeside    = 64 // of what else a process has open: the standard ones, the arena, the gun, the poller, and the runtime's
)

// checkFiles refuses clients for which a process could not open its files. They
// would fail amid the batch, and count as the server's errors. limit is how many
// a process may have open.
func (f formation) checkFiles(limit uint64) error {
	here, each := f.processes*filesOfProcess+filesBeside, f.each+filesBeside
	if need := max(here, each); uint64(need) > limit {
		return fmt.Errorf("%d clients need up to %d open files in one process, and its hard limit is %d; "+
			"raise it (ulimit -Hn %d, or LimitNOFILE= of the unit), or use a smaller pool", f.processes*f.each, need, limit, need)
	}
	return nil
}

// fileLimit is how many files a process of this user may have open: the hard
// limit, up to which Go raises the soft one when it starts.
func fileLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return uint64(limit.Max), nil // it is signed on some systems
}
