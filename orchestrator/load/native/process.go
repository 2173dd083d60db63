//go:build linux

package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/show"
)

// A worker is a client process of a batch, as the orchestrator sees it.
type worker struct {
	name     string
	process  int           // its id
	stop     func()        // asks it to end at once and to write its tally; may be called again
	kill     func()        // ends it without a tally; may be called again
	killed   atomic.Bool   // by kill
	ready    chan struct{} // closed when it waits for the gun
	finished chan struct{} // closed when nothing of it is left; then tally and err are set
	tally    tally
	err      error
}

// stopGrace is how long a client process has to write its tally after it was stopped,
// and to end after it closed its output. Then it is killed.
const stopGrace = 2 * time.Second

// stopped reports whether a signal has stopped the process since the last look,
// whether it goes on by now or not.
func (w *worker) stopped() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, w.process, &info, unix.WSTOPPED|unix.WCONTINUED|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0
}

// startProcess starts one client process and gives it its task. If ctx ends first,
// it kills the process.
func startProcess(ctx context.Context, argv []string, name string, t task, a *arena, gun *os.File) (*worker, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	// It runs on one core at a time, which costs least: its goroutines never wait for
	// each other's caches.
	cmd.Env = []string{workerMark + "=1", "GOMAXPROCS=1"}
	for _, name := range []string{"GOCOVERDIR", "GORACE"} { // for programs built with -cover or -race
		if value := os.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.ExtraFiles = []*os.File{a.file, gun} // arenaFD, gunFD
	// A group of its own: Ctrl-C in a terminal reaches the orchestrator alone. The
	// kernel kills the process when its parent is gone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	lastWords := new(show.Tail)
	cmd.Stderr = lastWords
	cmd.WaitDelay = stopGrace // in case another process holds its output open
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	w := &worker{
		name:     name,
		process:  cmd.Process.Pid,
		stop:     func() { _ = stdin.Close() },
		ready:    make(chan struct{}),
		finished: make(chan struct{}),
	}
	w.kill = func() {
		w.killed.Store(true)
		_ = cmd.Process.Kill()
	}
	go w.follow(cmd, stdout, lastWords)
	defer context.AfterFunc(ctx, w.kill)()
	if err := json.NewEncoder(stdin).Encode(t); err != nil {
		w.kill()
		<-w.finished
		if w.err != nil {
			return nil, w.err // says why
		}
		return nil, fmt.Errorf("give %s its task: %w", name, err)
	}
	return w, nil
}

// follow reads a process's messages until nothing of it is left.
func (w *worker) follow(cmd *exec.Cmd, stdout io.Reader, lastWords *show.Tail) {
	defer close(w.finished)
	err := w.listen(json.NewDecoder(stdout))
	if err != nil {
		// Without a tally it may be any program, and not end by itself. If it does, that
		// says how.
		defer time.AfterFunc(stopGrace, w.kill).Stop()
	}
	ended := cmd.Wait()
	switch {
	case !w.killed.Load() && load.EndedFromOutside(ended):
		err = fmt.Errorf("it %w: %w", load.ErrDisturbed, ended)
	case err == nil && ended == nil:
		return
	case err == nil:
		err = ended
	case ended != nil:
		err = fmt.Errorf("%w: %w", err, ended)
	}
	w.err = fmt.Errorf("%s (process %d): %w", w.name, w.process, err)
	if said := lastWords.String(); said != "" {
		w.err = fmt.Errorf("%w: %s", w.err, show.Columns(said))
	}
}

// listen reads two messages: that the process is ready, and its tally.
func (w *worker) listen(messages *json.Decoder) error {
	var m message
	if err := messages.Decode(&m); err != nil {
		return fmt.Errorf("it ended before it was ready (%w)", err)
	}
	if !m.Ready {
		return errors.New("it did not say that it is ready; is it a program that calls native.Worker?")
	}
	close(w.ready)
	m = message{}
	if err := messages.Decode(&m); err != nil {
		return fmt.Errorf("it ended without a tally (%w)", err)
	}
	if m.Tally == nil {
		return errors.New("its tally is empty")
	}
	w.tally = *m.Tally
	return nil
}
