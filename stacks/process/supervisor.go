//go:build linux

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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
	lookInterval = time.Second           // between two looks at what the service has
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
func (s *supervisor) launch() (first identity, err error) {
	log := os.NewFile(logFD, "log")
	defer log.Close()
	failRead, failWrite, err := os.Pipe()
	if err != nil {
		return first, err
	}
	defer failRead.Close()
	defer failWrite.Close()
	cmd := exec.Command(s.path)
	cmd.Args = append(slices.Clone(os.Args), enterArgument)
	cmd.Dir, cmd.Env = s.record.Dir, launcherEnvironment()
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{failWrite} // failureFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	input, err := cmd.StdinPipe()
	if err != nil {
		return first, err
	}
	if err := cmd.Start(); err != nil {
		return first, err
	}
	failWrite.Close()
	err = json.NewEncoder(input).Encode(enterTask{Groups: s.record.Groups, Cores: s.task.Cores, Ulimits: s.task.Ulimits, program: s.task.program})
	err = errors.Join(err, input.Close())
	// The pipe closes when the program takes over or the second step ends.
	why, readErr := io.ReadAll(failRead)
	if len(why) > 0 {
		err = errors.New(string(why))
	} else if err == nil {
		err = readErr
	}
	first.PID = cmd.Process.Pid
	if err == nil {
		// Nobody has waited for it: at least a zombie is still there.
		first.Start, err = stacks.StartTime(first.PID)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return first, err
}

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
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	var e ending
	for e.At.IsZero() {
		select {
		case <-s.stop:
			s.end(true)
			return
		case <-s.hurry:
			s.end(false)
			return
		case <-look.C:
			if e.Excess = s.excess(); e.Excess != "" {
				e.At = time.Now()
			}
		case status := <-s.ended:
			e.At, e.Status = time.Now(), status.ExitStatus()
			if status.Signaled() {
				e.Status = 128 + int(status.Signal())
			}
		}
	}
	// Like a container, a service ends with its first process.
	s.end(false)
	e.OOMKills = cgroup.Killed(s.record.Groups)
	_ = s.output.Encode(event{Ended: &e})
	// The meter reads the group until the stack is stopped.
	select {
	case <-s.stop:
	case <-s.hurry:
	}
}

// excess says of what the service has more than it may; empty if of nothing. With a
// control group, the kernel limits the processes. What a service writes is what all its
// processes have, those that have ended included, wherever it is, but not what they keep
// in memory (/dev/shm).
func (s *supervisor) excess() string {
	written, tasks := writtenBy(s.self), 0
	for _, m := range below(s.self) {
		written += writtenBy(m.PID)
		tasks += m.threads
	}
	switch {
	case tasks > s.task.PIDs:
		return fmt.Sprintf("it had more than %d processes and threads", s.task.PIDs)
	case written > s.task.Written:
		return fmt.Sprintf("it wrote more than %d MiB to disks; let it write less, or to memory (TMPDIR: /dev/shm)", s.task.Written>>20)
	}
	return ""
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
	for _, m := range below(s.self) {
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
	if removeThings(s.record) == nil && len(below(s.self)) == 0 {
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
