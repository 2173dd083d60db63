// Package lock keeps two runs from measuring on the same thing at once. There is
// one lock for each GPU, and one for the machine, for runs without a GPU.
//
// A lock is a kernel lock (flock) on a file in a folder that all users of the
// machine share. The kernel drops it when its holder ends, for whatever reason, so
// the next run can take it. The file says who holds the lock, for messages only.
// The lock is advisory: whoever can write to the folder can hold a lock for ever,
// and messages then name the holder.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is the name of the lock for runs that use no GPU.
const Machine = "machine"

// GPU is the name of a GPU's lock.
func GPU(uuid string) string { return "gpu-" + uuid }

// FolderVariable is the environment variable that names the folder of the locks.
// It is for machines on which stackmeter runs in containers that share a folder.
const FolderVariable = "STACKMETER_LOCKS"

// shared are the folders that every user can write to and in which users cannot
// remove each other's files, the best one first. A user's runtime folder will not
// do: two users' runs would not see each other.
var shared = [...]string{"/run/lock", "/var/lock", "/tmp", "/var/tmp"}

// Folder is the folder of this machine's locks. Every user finds the same one.
// The error says what to do.
func Folder() (string, error) {
	if named := os.Getenv(FolderVariable); named != "" {
		if info, err := os.Stat(named); err != nil || !info.IsDir() {
			return "", fmt.Errorf("%s=%s: there is no such folder; make it, or unset the variable", FolderVariable, named)
		}
		return named, nil
	}
	for _, folder := range shared {
		info, err := os.Stat(folder)
		if err == nil && info.IsDir() && info.Mode()&os.ModeSticky != 0 && info.Mode().Perm() == 0o777 {
			return folder, nil
		}
	}
	return "", fmt.Errorf("none of %v is a folder that every user can lock a machine in; name one with %s", shared, FolderVariable)
}

// A Holder says who holds a lock.
type Holder struct {
	Run      string    `json:"run"`
	Scenario string    `json:"scenario"`
	PID      int       `json:"pid"`
	User     string    `json:"user"`
	Host     string    `json:"host"` // in a container it is not the machine's name
	Since    time.Time `json:"since"`
}

func (h Holder) String() string {
	if h.Run == "" {
		return "a process that does not say who it is"
	}
	return fmt.Sprintf("run %s of %s (process %d of %s on %s, since %s)",
		h.Run, h.Scenario, h.PID, h.User, h.Host, h.Since.Local().Format(time.DateTime))
}

// A HeldError says that another process holds a lock.
type HeldError struct {
	Name   string
	Holder Holder
}

func (e *HeldError) Error() string {
	what := "the machine"
	if uuid, ok := strings.CutPrefix(e.Name, GPU("")); ok {
		what = "GPU " + uuid
	}
	return fmt.Sprintf("%s is held by %s", what, e.Holder)
}

// Locks are locks that this process holds.
type Locks struct{ held []*os.File }

// pollInterval is the time between two tries at a lock that is held. flock can
// wait, but then it cannot be interrupted.
const pollInterval = 200 * time.Millisecond

// Acquire takes all the named locks or none. If another process holds one, it
// waits for the given time at most and reports each holder to waiting, once. When
// the time is over, the error is a *HeldError.
func Acquire(ctx context.Context, folder string, names []string, holder Holder, wait time.Duration, waiting func(*HeldError)) (*Locks, error) {
	// All take locks in the same order, so that no two wait for each other.
	names = slices.Clone(names)
	slices.Sort(names)
	deadline := time.Now().Add(wait)
	locks := &Locks{}
	for _, name := range slices.Compact(names) {
		f, err := acquire(ctx, folder, name, holder, deadline, waiting)
		if err != nil {
			locks.Release()
			return nil, err
		}
		locks.held = append(locks.held, f)
	}
	return locks, nil
}

func acquire(ctx context.Context, folder, name string, holder Holder, deadline time.Time, waiting func(*HeldError)) (*os.File, error) {
	var told Holder
	for {
		f, err := try(filepath.Join(folder, fileName(name)), holder)
		held := (*HeldError)(nil)
		if !errors.As(err, &held) {
			return f, err
		}
		held.Name = name
		if !time.Now().Before(deadline) {
			return nil, held
		}
		if held.Holder != told && waiting != nil {
			told = held.Holder
			waiting(held)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
}

// try takes a lock if it is free.
func try(path string, holder Holder) (*os.File, error) {
	for {
		f, err := openFile(path)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			defer f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, &HeldError{Holder: read(f)}
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// A holder removes its file when it gives the lock back: the file that is
		// locked now may not be the one that others open.
		if !same(f, path) {
			f.Close()
			continue
		}
		if err := write(f, holder); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: say who holds it: %w", path, err)
		}
		return f, nil
	}
}

// Add takes over other locks, so that Release gives them back too.
func (l *Locks) Add(more *Locks) {
	l.held = append(l.held, more.held...)
	more.held = nil
}

// Release gives the locks back. It may be called more than once.
func (l *Locks) Release() {
	for _, f := range l.held {
		// In a shared folder another user's file cannot be removed. It need not
		// be.
		_ = os.Remove(f.Name())
		f.Close()
	}
	l.held = nil
}

// A State is a lock file that exists.
type State struct {
	Name   string
	Holder *Holder // nil if nobody holds it any more
}

// List lists the locks of a folder. It holds each only while it looks at it.
func List(folder string) ([]State, error) {
	files, err := filepath.Glob(filepath.Join(folder, fileName("*")))
	if err != nil {
		return nil, err
	}
	var states []State
	for _, file := range files {
		base := filepath.Base(file)
		state := State{Name: strings.TrimSuffix(strings.TrimPrefix(base, filePrefix), fileSuffix)}
		f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue // it is gone, or another user's
		}
		// Shared, so that two processes that look at once do not see each other.
		if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
			holder := read(f)
			state.Holder = &holder
		}
		f.Close()
		states = append(states, state)
	}
	return states, nil
}

const (
	filePrefix = "stackmeter-"
	fileSuffix = ".lock"
)

// fileName is the name of a lock's file. Its characters cannot lead out of the
// folder.
func fileName(name string) string {
	return filePrefix + strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '*' {
			return c
		}
		return '_'
	}, name) + fileSuffix
}

// openFile opens a lock's file or makes it. In a folder that every user can write
// to, the file may be a trap: a link to a file that another user wants to have
// overwritten.
func openFile(path string) (*os.File, error) {
	const flags = os.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	for {
		// First without O_CREATE: Linux refuses it for another user's file in such
		// a folder (fs.protected_regular).
		f, err := os.OpenFile(path, flags, 0)
		if errors.Is(err, os.ErrNotExist) {
			f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o666)
			if errors.Is(err, os.ErrExist) {
				continue // another process was faster
			}
			if err == nil {
				err = f.Chmod(0o666) // for other users, whatever this one's umask
			}
		}
		if errors.Is(err, unix.ELOOP) {
			return nil, errors.New("it is a symbolic link, so stackmeter did not make it; find out who did, and remove it")
		}
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && (!info.Mode().IsRegular() || info.Sys().(*syscall.Stat_t).Nlink > 1) {
			err = errors.New("it is not a regular file with one name, so stackmeter did not make it; find out who did, and remove it")
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

// same reports whether the path still leads to the open file.
func same(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(open, there)
}

// sizeLimit is how much is read of a file that any user may have written.
const sizeLimit = 4 << 10

func read(f *os.File) Holder {
	var h Holder
	text, err := io.ReadAll(io.NewSectionReader(f, 0, sizeLimit))
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Holder{}
	}
	return h
}

func write(f *os.File, h Holder) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	return err
}
