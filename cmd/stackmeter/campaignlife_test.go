package main

import (
	"bufio"
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

	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/stacks/process"
)

// read takes the events out of standard error and keeps the rest.
func (l *life) read(stderr io.Reader, on func(orchestrator.Event)) {
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadBytes('\n')
		var e orchestrator.Event
		if len(line) > 0 && json.Unmarshal(line, &e) == nil {
			on(e)
		} else if l.stderr.Len() < 1<<20 {
			l.stderr.Write(line)
			if strings.Contains(string(line), "stackmeter: interrupted; removing") {
				l.heard = time.Now()
			}
		}
		if err != nil {
			return
		}
	}
}

// strike sends the kill's signals when it is time, and returns when the
// process's output has ended.
func (l *life) strike(pid int, k *kill, events <-chan orchestrator.Event, note func()) {
	after := func(d time.Duration) <-chan time.Time { return time.After(d) }
	var due <-chan time.Time
	var left []syscall.Signal
	target := pid
	if k != nil {
		left = slices.Clone(k.signals)
		if k.group {
			target = -pid
		}
		if k.event == 0 {
			due = after(k.delay)
		}
	}
	seen := 0
	for {
		select {
		case e, more := <-events:
			if !more {
				return
			}
			note()
			l.started = l.started || e.Kind == orchestrator.EventRun
			if e.Kind == orchestrator.EventResult && e.Status == results.StatusOK {
				l.told[e.Cell] = true
			}
			if e.Kind == orchestrator.EventProgress {
				continue
			}
			if seen++; k != nil && seen == k.event {
				due = after(k.delay)
			}
		case <-due:
			due = nil
			// Nobody has waited for the process: its PID is still its own.
			if syscall.Kill(target, left[0]) != nil {
				continue
			}
			l.hit = time.Now()
			if left = left[1:]; len(left) > 0 {
				due = after(k.between)
			}
		}
	}
}

// judge looks at what a life has left behind.
func (c *campaign) judge(l *life) {
	c.t.Helper()
	wrong := func(figure, format string, args ...any) {
		c.figures[figure]++
		c.t.Errorf("kill %d (%v): %s: %s\n%s", c.kills, l.kill, figure, fmt.Sprintf(format, args...), &l.stderr)
	}
	killed := !l.hit.IsZero() && l.status != exitOK
	switch {
	case l.hung:
		wrong("hangs", "it did not end within %v", crashHang)
	case killed:
		c.kills++
		c.bySignal[l.kill.name()]++
		c.slowest = max(c.slowest, l.took)
	case l.kill != nil:
		c.figures["ended before the kill"]++
	}
	// A signal that comes before the command listens for it ends it at once,
	// and nothing has been started by then.
	early := l.status == -1 && l.heard.IsZero()
	switch {
	case l.status == exitOK, killed && l.status == exitInterrupted, killed && early:
	default:
		wrong("wrong exits", "exit status %d", l.status)
	}

	id, records, err := c.look()
	if err != nil {
		wrong("lost cells", "the store cannot be read: %v", err)
		return
	}
	c.id = id
	now := map[string]results.Record{}
	for _, r := range records {
		if _, twice := now[r.Cell.Name]; twice {
			wrong("cells twice", "%s", r.Cell.Name)
		}
		now[r.Cell.Name] = r
		if r.Status != results.StatusOK {
			wrong("failed cells", "%s: %s\n%s", r.Cell.Name, r.Reason, r.LogTail)
			continue
		}
		if _, before := c.ok[r.Cell.Name]; before || l.hit.IsZero() {
			continue
		}
		// It ended before the orchestrator can have known of its own end.
		knew := l.hit
		if !l.heard.IsZero() {
			knew = l.heard
		}
		if end := r.Started.Add(time.Duration(*r.Duration * float64(time.Second))); end.After(knew) {
			wrong("cells measured while dying", "%s ended %v later", r.Cell.Name, end.Sub(knew))
		}
		if r.Errors > 0 || r.Replies != r.Cell.Load.Requests {
			wrong("cells measured while dying", "%s is ok with %d replies and %d errors", r.Cell.Name, r.Replies, r.Errors)
		}
	}
	for name, before := range c.ok {
		if r, there := now[name]; !there {
			wrong("lost cells", "%s", name)
		} else if !r.Started.Equal(before.Started) {
			wrong("cells twice", "%s was measured again", name)
		}
	}
	for name := range l.told {
		if _, there := now[name]; !there {
			wrong("lost cells", "%s, which was told of", name)
		}
	}
	c.ok = now
	// Who is killed cannot clean up; what is left then is the next start's to
	// remove, if that gets so far. Local processes end with stackmeter all the
	// same.
	c.owed = l.status == -1 || c.owed && !l.started
	if c.id != "" && (!c.owed || c.runtime == process.Name) {
		left := c.left()
		if records := filepath.Join(c.temp, "stackmeter"); c.owed && slices.Equal(left, []string{records}) {
			left = nil // it was killed with the folder made, and nothing in it
		}
		if len(left) > 0 {
			wrong("leaks", "%v", left)
		}
	}
}

// look reads the store: its one run, and the cells.
func (c *campaign) look() (id string, records []results.Record, err error) {
	store, err := openStore(c.t.Context(), filepath.Join(c.dir, defaultStore))
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, results.ErrForeign): // killed before, or while, it was made
		return "", nil, nil
	case err != nil:
		return "", nil, err
	}
	defer store.Close()
	run, records, err := store.Run(c.t.Context(), "")
	if errors.Is(err, results.ErrNoRun) {
		return "", nil, nil
	}
	return run.ID, records, err
}

// left waits until nothing of the run is on the machine any more, or returns
// what stays. A local service has its grace to end in after stackmeter is
// gone.
func (c *campaign) left() (left []string) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if left = c.processes(); c.runtime == process.Name {
			left = append(left, c.local()...)
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	if c.runtime == process.Name {
		return left
	}
	engine, err := runtimes.Options{Name: c.runtime}.Open()
	if err != nil {
		c.t.Fatal(err)
	}
	defer engine.Close()
	removed, err := engine.Sweep(context.Background(), c.id)
	if err != nil {
		left = append(left, err.Error())
	}
	return append(left, removed...)
}

// local is what is left of local services.
func (c *campaign) local() []string {
	c.t.Helper()
	var left []string
	processes, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range processes {
		if env, _ := os.ReadFile(file); strings.Contains(string(env), "STACKMETER_RUN="+c.id+"\x00") {
			left = append(left, file) // none of one that has ended
		}
	}
	for group := range c.groups {
		if _, err := os.Stat(group); err == nil {
			left = append(left, group)
		}
	}
	return append(left, c.files()...)
}

// files are those in the folder for temporary files, which also holds the
// records of local processes.
func (c *campaign) files() (left []string) {
	_ = filepath.WalkDir(c.temp, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != c.temp {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// processes are those that run the command, were started with its folder for
// temporary files, or work in it.
func (c *campaign) processes() (left []string) {
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range folders {
		exe, _ := os.Readlink(filepath.Join(p, "exe"))
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		environment, _ := os.ReadFile(filepath.Join(p, "environ"))
		if strings.HasPrefix(exe, c.program) || strings.HasPrefix(cwd, c.temp) || strings.Contains(string(environment), "TMPDIR="+c.temp+"\x00") {
			command, _ := os.ReadFile(filepath.Join(p, "cmdline"))
			left = append(left, fmt.Sprintf("process %s (%s)", filepath.Base(p), strings.ReplaceAll(string(command), "\x00", " ")))
		}
	}
	return left
}

// finished looks at a run that has ended with every cell.
func (c *campaign) finished() {
	c.t.Helper()
	if len(c.ok) != crashCells {
		c.figures["lost cells"] += crashCells - len(c.ok)
		c.t.Errorf("a finished run has %d cells, want %d", len(c.ok), crashCells)
	}
	if left := append(c.left(), c.files()...); len(left) > 0 {
		c.figures["leaks"]++
		c.t.Errorf("left behind by a finished run: %v", left)
	}
	if files, _ := filepath.Glob(filepath.Join(c.dir, defaultStore+"-*")); len(files) > 0 {
		c.figures["leaks"]++
		c.t.Errorf("files beside the store: %v", files)
	}
}
