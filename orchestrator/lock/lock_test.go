package lock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own second process: with holderEnv set it takes the
// locks that it names, "FOLDER NAME", says so, and holds them until its
// standard input ends.
const holderEnv = "STACKMETER_TEST_HOLDER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(holderEnv); spec != "" {
		folder, name, _ := strings.Cut(spec, " ")
		locks, err := Acquire(context.Background(), folder, []string{name}, holder("other"), time.Minute, nil)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = bufio.NewReader(os.Stdin).ReadString(0)
		locks.Release()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func holder(run string) Holder {
	return Holder{Run: run, Scenario: "quickstart", PID: os.Getpid(), User: "nobody", Host: "bench", Since: time.Unix(1e9, 0).UTC()}
}

// other starts a process that holds a lock, and returns it and what ends it.
func other(t *testing.T, folder, name string, as *syscall.Credential) (process *os.Process, end func() error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), holderEnv+"="+folder+" "+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: as}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "held" {
		t.Fatalf("the other process: %q", lines.Text())
	}
	return cmd.Process, func() error {
		in.Close()
		return cmd.Wait()
	}
}

func TestHeld(t *testing.T) {
	folder := t.TempDir()
	name := GPU("GPU-1234")
	_, end := other(t, folder, name, nil)

	_, err := Acquire(t.Context(), folder, []string{Machine, name}, holder("mine"), 0, nil)
	var held *HeldError
	if !errors.As(err, &held) || held.Holder.Run != "other" || !strings.Contains(err.Error(), "GPU GPU-1234 is held by run other of quickstart (process ") {
		t.Fatalf("refused: %v", err)
	}
	states, err := List(folder)
	if err != nil || len(states) != 1 || states[0].Name != name || states[0].Holder == nil || states[0].Holder.Run != "other" {
		t.Errorf("listed: %+v, %v; the lock that could be had must have been given back", states, err)
	}
	if _, err := Acquire(t.Context(), folder, []string{Machine}, holder("mine"), 0, nil); err != nil {
		t.Errorf("another lock: %v", err)
	}

	var told []string
	locks, err := Acquire(t.Context(), folder, []string{name}, holder("mine"), time.Minute, func(h *HeldError) {
		told = append(told, h.Holder.Run)
		if err := end(); err != nil {
			t.Errorf("the other process: %v", err)
		}
	})
	if err != nil || len(told) != 1 || told[0] != "other" {
		t.Fatalf("waited: %v, told of %v", err, told)
	}
	locks.Release()
	locks.Release()
	if _, err := os.Stat(filepath.Join(folder, fileName(name))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is left: %v", err)
	}
}

func TestWaitEnds(t *testing.T) {
	folder := t.TempDir()
	_, end := other(t, folder, Machine, nil)
	defer end()
	cancelled := errors.New("cancelled by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Acquire(ctx, folder, []string{Machine}, holder("mine"), time.Hour, func(*HeldError) { cancel(cancelled) })
	if !errors.Is(err, cancelled) {
		t.Errorf("cancelled: %v", err)
	}
	var held *HeldError
	if _, err := Acquire(t.Context(), folder, []string{Machine}, holder("mine"), time.Millisecond, nil); !errors.As(err, &held) {
		t.Errorf("the wait has passed: %v", err)
	}
}

// TestFault27DeadHolder kills the process that holds a lock.
func TestFault27DeadHolder(t *testing.T) {
	folder := t.TempDir()
	process, end := other(t, folder, Machine, nil)
	locks, err := Acquire(t.Context(), folder, []string{Machine}, holder("mine"), time.Minute, func(*HeldError) {
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
		_ = end() // killed
	})
	if err != nil {
		t.Fatal(err)
	}
	defer locks.Release()
	if _, err := Acquire(t.Context(), folder, []string{Machine}, holder("third"), 0, nil); err == nil || !strings.Contains(err.Error(), "run mine") {
		t.Errorf("the file still names the dead: %v", err)
	}
}

// TestFault27ManyAtOnce has several processes take the same lock in turn: each
// removes its file, and never do two hold it.
func TestFault27ManyAtOnce(t *testing.T) {
	folder := t.TempDir()
	inside := make(chan struct{}, 1)
	failed := make(chan error)
	const several, times = 4, 5
	for range several {
		go func() {
			for range times {
				locks, err := Acquire(context.Background(), folder, []string{Machine, GPU("a")}, holder("x"), time.Minute, nil)
				if err != nil {
					failed <- err
					return
				}
				select {
				case inside <- struct{}{}:
					<-inside
				default:
					err = errors.New("two hold it at once")
				}
				locks.Release()
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range several {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

// TestFault27TwoUsers has root and another user meet in a folder of
// everybody's.
func TestFault27TwoUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it runs a process as another user")
	}
	folder := t.TempDir()
	for dir := folder; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	// The other user has to be able to run it.
	program := filepath.Join(folder, "program")
	if err := exec.Command("install", "-m", "0755", os.Args[0], program).Run(); err != nil {
		t.Fatal(err)
	}
	self := os.Args[0]
	os.Args[0] = program
	defer func() { os.Args[0] = self }()

	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	_, end := other(t, folder, Machine, nobody)
	_, err := Acquire(t.Context(), folder, []string{Machine}, holder("root's"), 0, nil)
	if err == nil || !strings.Contains(err.Error(), "run other") {
		t.Errorf("root beside nobody: %v", err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	locks, err := Acquire(t.Context(), folder, []string{Machine}, holder("root's"), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	// As after a kill: the file of one user stays and the other takes it.
	for _, f := range locks.held {
		f.Close()
	}
	_, end = other(t, folder, Machine, nobody)
	if err := end(); err != nil {
		t.Error(err)
	}
}

// TestTraps has something else lie where a lock's file belongs.
func TestTraps(t *testing.T) {
	for name, lay := range map[string]func(path, precious string) error{
		"a symbolic link": func(path, precious string) error { return os.Symlink(precious, path) },
		"a hard link":     func(path, precious string) error { return os.Link(precious, path) },
		"a pipe":          func(path, _ string) error { return syscall.Mkfifo(path, 0o666) },
		"a folder":        func(path, _ string) error { return os.Mkdir(path, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			precious := filepath.Join(t.TempDir(), "precious")
			if err := os.WriteFile(precious, []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := lay(filepath.Join(folder, fileName(Machine)), precious); err != nil {
				t.Fatal(err)
			}
			_, err := Acquire(t.Context(), folder, []string{Machine}, holder("mine"), 0, nil)
			if err == nil || !strings.Contains(err.Error(), fileName(Machine)) {
				t.Errorf("taken: %v", err)
			}
			if text, err := os.ReadFile(precious); err != nil || string(text) != "content" {
				t.Errorf("what the trap leads to: %q, %v", text, err)
			}
		})
	}
}

// TestJunk has a file that somebody wrote nonsense into.
func TestJunk(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, fileName(Machine))
	if err := os.WriteFile(path, []byte(strings.Repeat("\x1b[2J{", 10_000)), 0o666); err != nil {
		t.Fatal(err)
	}
	_, end := other(t, folder, Machine, nil)
	if err := os.WriteFile(path, []byte("\x1b[2J{"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Acquire(t.Context(), folder, []string{Machine}, holder("mine"), 0, nil)
	if err == nil || !strings.Contains(err.Error(), "does not say who it is") {
		t.Errorf("refused with %v", err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(FolderVariable, dir)
	if got, err := Folder(); err != nil || got != dir {
		t.Errorf("%s, %v", got, err)
	}
	t.Setenv(FolderVariable, filepath.Join(dir, "missing"))
	if _, err := Folder(); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a folder that is not there: %v", err)
	}
	t.Setenv(FolderVariable, "")
	if got, err := Folder(); err != nil || !filepath.IsAbs(got) {
		t.Errorf("%s, %v", got, err)
	}
}
