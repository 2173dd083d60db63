//go:build linux

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

const (
	killPatience = 8 * time.Second       // how long the kernel may take to end what was killed
	killInterval = 10 * time.Millisecond // between two rounds, the next of which kills what was forked meanwhile
)

// A supervisor is the parent of one service, in a process and a session of its
// own.
type supervisor struct {
	task    task
	record  record
	output  *json.Encoder
	path    string        // of this program, for the second step
	self    int           // its PID
	stop    chan struct{} // closed when the input ends: the stack was stopped, or stackmeter is gone
	hurry   chan os.Signal
	ended   chan unix.WaitStatus // of the first process
	nothing chan struct{}        // closed when no process is left below
}

// supervise starts a service, waits until the service has to end, and removes
// everything that it made.
func supervise(stdin io.Reader, stdout io.Writer) error {
	// The kernel sends the signal of PR_SET_PDEATHSIG when the thread ends that
	// started the process. This thread stays.
	runtime.LockOSThread()
	// Notify instead of Ignore: the service would inherit an ignored signal.
	deaf := make(chan os.Signal, 1)
	signal.Notify(deaf, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	s := &supervisor{
		output: json.NewEncoder(stdout), self: os.Getpid(),
		stop: make(chan struct{}), hurry: make(chan os.Signal, 1),
		ended: make(chan unix.WaitStatus, 1), nothing: make(chan struct{}),
	}
	signal.Notify(s.hurry, syscall.SIGTERM)
	input := json.NewDecoder(stdin)
	if err := input.Decode(&s.task); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	go func() {
		defer close(s.stop)
		_, _ = io.Copy(io.Discard, io.MultiReader(input.Buffered(), stdin))
	}()
	err := s.start()
	if err == nil {
		s.attend()
	}
	s.remove()
	if err != nil {
		// Nobody reads this if stackmeter is gone.
		_ = s.output.Encode(event{Failed: err.Error()})
	}
	return nil
}

// start makes what the service needs and starts it.
func (s *supervisor) start() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	begun, err := stacks.StartTime(s.self)
	if err != nil {
		return err
	}
	if s.path, err = os.Executable(); err != nil {
		return err
	}
	s.record = s.task.Record
	s.record.Supervisor = identity{s.self, begun}
	if err := s.record.write(s.task.File); err != nil {
		return fmt.Errorf("write the stack's record: %w", err)
	}
	if err := cgroup.Make(s.task.Groups); err != nil {
		return err
	}
	if s.record.Temp != "" {
		if err := os.Mkdir(s.record.Temp, 0o700); err != nil {
			return err
		}
	}
	for _, f := range s.task.Files {
		if err := os.WriteFile(f.Path, []byte(f.Text), 0o600); err != nil {
			return err
		}
	}
	first, err := s.launch()
	if err != nil {
		return err
	}
	go s.reap(first.PID)
	s.record.First = first
	if err := s.record.write(s.task.File); err != nil {
		s.end(false)
		return fmt.Errorf("write the stack's record: %w", err)
	}
	// If nobody reads this, stackmeter is gone and the input has ended.
	_ = s.output.Encode(event{Started: &first})
	return nil
}

// launch starts the second step and returns once it has become the program.
func (s *supervisor) launch() (identity, error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	open := func(f *os.File, err error) (*os.File, error) {
		if err == nil {
			files = append(files, f)
		}
		return f, err
	}
	null, err := open(os.Open(os.DevNull))
	if err != nil {
		return identity{}, err
	}
	log, _ := open(os.NewFile(logFD, "log"), nil)
	taskRead, taskWrite, err := os.Pipe()
	if err != nil {
		return identity{}, err
	}
	files = append(files, taskRead)
	defer taskWrite.Close()
	failRead, failWrite, err := os.Pipe()
	if err != nil {
		return identity{}, err
	}
	defer failRead.Close()
	files = append(files, failWrite)

	p, err := os.StartProcess(s.path, secondStep(), &os.ProcAttr{
		Dir:   s.record.Dir,
		Env:   launcherEnvironment(),
		Files: []*os.File{null, log, log, taskRead, failWrite}, // taskFD, failureFD
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return identity{}, err
	}
	defer p.Release()
	for _, f := range files {
		f.Close()
	}
	files = nil
	err = json.NewEncoder(taskWrite).Encode(enterTask{Groups: s.record.Groups, Cores: s.task.Cores, program: s.task.program})
	if err == nil {
		err = taskWrite.Close()
	}
	// The pipe closes when the program takes over or the second step ends.
	why, readErr := io.ReadAll(failRead)
	if len(why) > 0 {
		err = errors.New(string(why))
	} else if err == nil {
		err = readErr
	}
	first := identity{PID: p.Pid}
	if err == nil {
		// Nobody has waited for it: at least a zombie is still there.
		first.Start, err = stacks.StartTime(p.Pid)
	}
	if err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
	}
	return first, err
}

// secondStep is the command line of the launcher's second step: that of this
// process with enterArgument behind it.
func secondStep() []string { return append(slices.Clone(os.Args), enterArgument) }

// reap waits for every process below, including orphans, whose parent it becomes.
func (s *supervisor) reap(first int) {
	defer close(s.nothing)
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // ECHILD
			return
		case pid == first:
			s.ended <- status
		}
	}
}

// attend waits until the service ends or has to be ended.
func (s *supervisor) attend() {
	select {
	case <-s.stop:
		s.end(true)
		return
	case <-s.hurry:
		s.end(false)
		return
	case status := <-s.ended:
		// Like a container, a service ends with its first process.
		s.end(false)
		e := &ending{Status: status.ExitStatus(), OOMKills: s.oomKills()}
		if status.Signaled() {
			e.Status, e.Signal = 0, int(status.Signal())
		}
		_ = s.output.Encode(event{Ended: e})
	}
	// The meter reads the group until the stack is stopped.
	select {
	case <-s.stop:
	case <-s.hurry:
	}
}

func (s *supervisor) oomKills() int {
	if len(s.record.Groups) == 0 {
		return 0
	}
	return cgroup.Killed(s.record.Groups)
}

// end ends every process below, gently first if asked to.
func (s *supervisor) end(gently bool) {
	if gently {
		s.signalAll(syscall.SIGTERM)
		select {
		case <-s.nothing:
			return
		case <-s.hurry:
		case <-time.After(stacks.Grace):
		}
	}
	deadline := time.After(killPatience)
	for {
		s.signalAll(syscall.SIGKILL)
		select {
		case <-s.nothing:
			return
		case <-deadline:
			return
		case <-time.After(killInterval):
		}
	}
}

func (s *supervisor) signalAll(sig syscall.Signal) {
	members, err := below(s.self)
	if err != nil {
		return
	}
	for _, m := range members {
		if !m.zombie {
			_ = m.signal(sig) // one that has ended meanwhile
		}
	}
}

// remove removes what start made. The record goes last. It stays if anything that
// it names does, so that a later sweep can go on.
func (s *supervisor) remove() {
	if s.record.Mark == "" {
		return // nothing was made
	}
	members, err := below(s.self)
	err = errors.Join(err, removeThings(s.record))
	if err == nil && len(members) == 0 {
		_ = os.Remove(s.task.File)
		_ = os.Remove(filepath.Dir(s.task.File)) // stays while another stack has a record in it
	}
}

// removeThings removes a record's control group and private folder. A group stays
// busy for a moment after its last process has ended.
func removeThings(r record) error {
	var err error
	for range 100 {
		if err = cgroup.Remove(r.Groups); !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(killInterval)
	}
	if r.Temp != "" {
		err = errors.Join(err, os.RemoveAll(r.Temp))
	}
	return err
}
