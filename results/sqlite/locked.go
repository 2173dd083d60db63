package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"stackmeter/results"
)

// WaitForLocks makes the store wait for another program's lock until ctx is over,
// instead of half a minute: for what nobody can do again. Each wait that is not
// over soon is told once, with who has the lock if that can be found.
func (s *Store) WaitForLocks(ctx context.Context, told func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.while, s.told = ctx, told
}

// Locked reports whether somebody waits for another program's lock.
func (s *Store) Locked() bool { return s.locked.Load() > 0 }

// patiently tries again where another process has a lock.
func (s *Store) patiently(ctx context.Context, try func() error) error {
	s.mu.Lock()
	while, told := s.while, s.told
	s.mu.Unlock()
	if while == nil {
		var stop context.CancelFunc
		while, stop = context.WithTimeout(ctx, patience)
		defer stop()
	}
	began, waiting := time.Now(), false
	for {
		err := try()
		var failed *driver.Error
		if !errors.As(err, &failed) || failed.Code()&0xff != lib.SQLITE_BUSY || while.Err() != nil || ctx.Err() != nil {
			return err
		}
		if !waiting {
			waiting = true
			s.locked.Add(1)
			defer s.locked.Add(-1)
		}
		if told != nil && time.Since(began) > tellAfter {
			told(fmt.Sprintf("the store %s is locked%s; waiting for as long as the run may last", s.path, s.holder()))
			told = nil
		}
		select { // SQLite does not always wait before it says so
		case <-time.After(20 * time.Millisecond):
		case <-while.Done():
		}
	}
}

// SQLite locks bytes of the file from this one on, wherever the file ends. See
// PENDING_BYTE in https://www.sqlite.org/src/file/src/os.h.
const lockBytes, lockLength = 1 << 30, 512

// holder says which other process has a lock on the file, " by sqlite3 (process
// 123)"; empty where that cannot be found, as for another machine's. It opens no
// file: closing it would take away the locks of this process.
func (s *Store) holder() string {
	info, err := os.Stat(s.path)
	if err != nil {
		return ""
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer locks.Close()
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		// 1: POSIX  ADVISORY  WRITE 1234 08:01:5678 1073741824 1073742335
		line := strings.Fields(lines.Text())
		if len(line) != 8 || line[1] != "POSIX" || !strings.HasSuffix(line[5], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		pid, _ := strconv.Atoi(line[4])
		at, err := strconv.ParseInt(line[6], 10, 64)
		if err != nil || at < lockBytes || at >= lockBytes+lockLength || pid <= 0 || pid == os.Getpid() {
			continue
		}
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			return fmt.Sprintf(" by process %d", pid)
		}
		return fmt.Sprintf(" by %s (process %d)", strings.TrimSpace(string(name)), pid)
	}
	return ""
}

// moved returns ErrMoved where the path no longer leads to the file that was
// opened. SQLite would write to that, out of everybody's sight.
func (s *Store) moved() error {
	if s.file == nil {
		return nil
	}
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: there is no file of that name any more", results.ErrMoved)
	case err == nil && !os.SameFile(info, s.file):
		return fmt.Errorf("%w: there is another file of that name now", results.ErrMoved)
	}
	return nil
}
