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

	"stackmeter/scenarios/show"
)

// startProcess starts one client process and gives it its task.
//
// When ctx ends before it has the task, so does the process.
func startProcess(ctx context.Context, argv []string, name string, o task, a *arena, gun *os.File) (*worker, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = workerEnvironment()
	cmd.ExtraFiles = []*os.File{a.file, gun} // arenaFD, gunFD
	cmd.SysProcAttr = workerAttributes()
	lastWords := new(show.Tail)
	cmd.Stderr = lastWords
	cmd.WaitDelay = stopGrace // for its output, should somebody else hold it open
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
		kill:     func() { _ = cmd.Process.Kill() },
		ready:    make(chan struct{}),
		finished: make(chan struct{}),
	}
	go w.follow(cmd, stdout, lastWords)
	defer context.AfterFunc(ctx, w.kill)()
	if err := json.NewEncoder(stdin).Encode(o); err != nil {
		w.kill()
		<-w.finished
		if w.err != nil {
			return nil, w.err // why it could not be told
		}
		return nil, fmt.Errorf("give %s its task: %w", name, err)
	}
	return w, nil
}

// workerEnvironment is all that a client process knows of the environment.
// One core at a time is the cheapest way to run it: the goroutines of one
// process never wait for each other's caches.
func workerEnvironment() []string {
	env := []string{workerMark + "=1", "GOMAXPROCS=1"}
	for _, name := range []string{"GOCOVERDIR", "GORACE"} { // for programs built with -cover or -race
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// follow reads what a process says until it is gone.
func (w *worker) follow(cmd *exec.Cmd, stdout io.Reader, lastWords *show.Tail) {
	defer close(w.finished)
	err := w.listen(json.NewDecoder(stdout))
	if err != nil {
		// After its tally it ends by itself. Without one it may be anything.
		w.kill()
	}
	ended := cmd.Wait()
	switch {
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

// listen reads that the process is ready, and then its tally.
func (w *worker) listen(messages *json.Decoder) error {
	var m message
	if err := messages.Decode(&m); err != nil {
		return fmt.Errorf("it ended before it was ready (%w)", err)
	}
	if !m.Ready {
		return errors.New("it did not say that it is ready; is it a program that calls load.Worker?")
	}
	close(w.ready)
	m = message{}
	if err := messages.Decode(&m); err != nil {
		return fmt.Errorf("it ended without a tally (%w)", err)
	}
	if m.Tally == nil {
		return errors.New("its tally is empty")
	}
	if err := m.Tally.Histograms.Unmarshal(m.Histograms); err != nil {
		return err
	}
	w.tally = *m.Tally
	return nil
}
