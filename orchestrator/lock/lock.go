// Package lock keeps two runs from measuring on the same thing at once: there
// is one lock for each GPU, and one for the machine for runs without any.
//
// A lock is a kernel lock (flock) on a file in a folder that all users of the
// machine share. The kernel drops it with its holder, however that ends, so
// that a dead holder's lock is taken over without anybody's help. The file only
// says who holds it; what it says is believed by no one but the reader of a
// message. The lock is advisory: who may write to the folder can hold one for
// ever, and is then named.
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

// FolderVariable is the environment variable that names the folder of the
// locks, for machines where stackmeter runs in containers that share one.
const FolderVariable = "STACKMETER_LOCKS"

// A Holder says who holds a lock.
type Holder struct {
	Run      string    `json:"run"`
	Scenario string    `json:"scenario"`
	PID      int       `json:"pid"`
	User     string    `json:"user"`
	Host     string    `json:"host"` // differs from the machine's name within a container
	Since    time.Time `json:"since"`
}

func (h Holder) String() string {
	if h.Run == "" {
		return "a process that does not say who it is"
	}
	return fmt.Sprintf("run %s of %s (process %d of %s on %s, since %s)",
		h.Run, h.Scenario, h.PID, h.User, h.Host, h.Since.Local().Format(time.DateTime))
}

// A HeldError says that somebody else holds a lock.
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

// pollInterval is between two tries at a lock that somebody holds. flock can
// wait by itself, but not be told to stop.
const pollInterval = 200 * time.Millisecond

// Acquire takes all the named locks or none. When somebody else holds one, it
// waits for at most the given time, and tells waiting of each holder once; with
// no wait, or when it has passed, the error is a *HeldError.
func Acquire(ctx context.Context, folder string, names []string, holder Holder, wait time.Duration, waiting func(*HeldError)) (*Locks, error) {
	// Whoever takes several takes them in the same order, so that no two wait
	// for each other.
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

// try takes a lock if nobody has it.
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
		// The last holder removes its file: what is locked now may no longer
		// be what others will open.
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

// Add makes more locks give themselves back with these.
func (l *Locks) Add(more *Locks) {
	l.held = append(l.held, more.held...)
	more.held = nil
}

// Release gives the locks back. It may be called more than once.
func (l *Locks) Release() {
	for _, f := range l.held {
		// Another user's file cannot be removed from a folder of everybody's,
		// and need not be.
		_ = os.Remove(f.Name())
		f.Close()
	}
	l.held = nil
}

// A State is a lock file that exists.
type State struct {
	Name   string
	Holder *Holder // nil when nobody holds it any more
}

// List looks at the locks of a folder and takes none for longer than a look.
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
			continue // gone by now, or not ours to read
		}
		// Shared: two that look at once do not see each other.
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

// fileName keeps to letters that cannot leave the folder.
func fileName(name string) string {
	return filePrefix + strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '*' {
			return c
		}
		return '_'
	}, name) + fileSuffix
}

// openFile opens a lock's file or makes it. In a folder that everybody may
// write to, what is found there may be a trap: a link to a file that somebody
// else would like to have overwritten.
func openFile(path string) (*os.File, error) {
	const flags = os.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	for {
		// Without O_CREATE first: Linux refuses it for another user's file in
		// such a folder (fs.protected_regular).
		f, err := os.OpenFile(path, flags, 0)
		if errors.Is(err, os.ErrNotExist) {
			f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o666)
			if errors.Is(err, os.ErrExist) {
				continue // another was faster
			}
			if err == nil {
				err = f.Chmod(0o666) // for the next user, whatever this one's umask
			}
		}
		if errors.Is(err, unix.ELOOP) {
			return nil, errors.New("it is a symbolic link, which stackmeter never makes; find out who did, and remove it")
		}
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && (!info.Mode().IsRegular() || info.Sys().(*syscall.Stat_t).Nlink > 1) {
			err = errors.New("it is no plain file of its own, which is all that stackmeter makes; find out who did, and remove it")
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

// sizeLimit bounds what is read of a file that anybody may have written to.
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
