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
	killPatience = 8 * time.Second       // for the kernel to end what was killed
	killInterval = 10 * time.Millisecond // a process that is forked meanwhile is killed by the next round
)

// A supervisor stands above one service. It is a process of its own in a
// session of its own.
type supervisor struct {
	order   order
	record  record
	output  *json.Encoder
	path    string        // of this program, for the second step
	self    int           // its PID
	stop    chan struct{} // closed when the input ends: the stack is stopped, or stackmeter is gone
	hurry   chan os.Signal
	ended   chan unix.WaitStatus // of the first process
	nothing chan struct{}        // closed when no process is left below
}

// supervise starts the service that it is told of, waits until it has to end,
// and takes away everything that it made.
func supervise(stdin io.Reader, stdout io.Writer) error {
	// The kernel sends the signal of PR_SET_PDEATHSIG when the thread ends
	// that started the process; this one stays.
	runtime.LockOSThread()
	// Notify, not Ignore: what is ignored is ignored in the service as well.
	deaf := make(chan os.Signal, 1)
	signal.Notify(deaf, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	s := &supervisor{
		output: json.NewEncoder(stdout), self: os.Getpid(),
		stop: make(chan struct{}), hurry: make(chan os.Signal, 1),
		ended: make(chan unix.WaitStatus, 1), nothing: make(chan struct{}),
	}
	signal.Notify(s.hurry, syscall.SIGTERM)
	input := json.NewDecoder(stdin)
	if err := input.Decode(&s.order); err != nil {
		return fmt.Errorf("read the order: %w", err)
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
		// Nobody reads it where stackmeter is gone.
		_ = s.output.Encode(report{Failed: err.Error()})
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
	s.record = s.order.Record
	s.record.Supervisor = identity{s.self, begun}
	if err := s.record.write(s.order.File); err != nil {
		return fmt.Errorf("write the stack's record: %w", err)
	}
	if err := cgroup.Make(s.order.Groups); err != nil {
		return err
	}
	if s.record.Temp != "" {
		if err := os.Mkdir(s.record.Temp, 0o700); err != nil {
			return err
		}
	}
	for _, f := range s.order.Files {
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
	if err := s.record.write(s.order.File); err != nil {
		s.end(false)
		return fmt.Errorf("write the stack's record: %w", err)
	}
	// Where nobody reads it stackmeter is gone, and the input has ended.
	_ = s.output.Encode(report{Started: &first})
	return nil
}

// launch starts the second step and returns when it has become the program.
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
	orderRead, orderWrite, err := os.Pipe()
	if err != nil {
		return identity{}, err
	}
	files = append(files, orderRead)
	defer orderWrite.Close()
	failRead, failWrite, err := os.Pipe()
	if err != nil {
		return identity{}, err
	}
	defer failRead.Close()
	files = append(files, failWrite)

	p, err := os.StartProcess(s.path, secondStep(), &os.ProcAttr{
		Dir:   s.record.Dir,
		Env:   launcherEnvironment(),
		Files: []*os.File{null, log, log, orderRead, failWrite}, // orderFD, failureFD
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
	err = json.NewEncoder(orderWrite).Encode(enterOrder{Groups: s.record.Groups, Cores: s.order.Cores, Program: s.order.Program})
	if err == nil {
		err = orderWrite.Close()
	}
	// The pipe closes when the program takes over, or when its step ends.
	why, readErr := io.ReadAll(failRead)
	if len(why) > 0 {
		err = errors.New(string(why))
	} else if err == nil {
		err = readErr
	}
	first := identity{PID: p.Pid}
	if err == nil {
		// Still there at least as a zombie: nobody has waited for it.
		first.Start, err = stacks.StartTime(p.Pid)
	}
	if err != nil {
		_ = p.Kill()
		_, _ = p.Wait()
	}
	return first, err
}

// secondStep is the command line of the launcher's second step: this one's own
// with enterArgument behind it.
func secondStep() []string { return append(slices.Clone(os.Args), enterArgument) }

// reap waits for every process below, the orphans that come to it included.
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

// attend waits for the service's end or for the order to end it.
func (s *supervisor) attend() {
	select {
	case <-s.stop:
		s.end(true)
		return
	case <-s.hurry:
		s.end(false)
		return
	case status := <-s.ended:
		// A container ends with its first process; so does a service here.
		s.end(false)
		e := &ending{Status: status.ExitStatus(), OOMKills: s.oomKills()}
		if status.Signaled() {
			e.Status, e.Signal = 0, int(status.Signal())
		}
		_ = s.output.Encode(report{Ended: e})
	}
	// What the meter reads stays until the stack is stopped.
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

// remove takes away what start made. The record goes last, and stays with what
// it names: whoever looks there next goes on.
func (s *supervisor) remove() {
	if s.record.Mark == "" {
		return // nothing was made
	}
	members, err := below(s.self)
	err = errors.Join(err, removeThings(s.record))
	if err == nil && len(members) == 0 {
		_ = os.Remove(s.order.File)
		_ = os.Remove(filepath.Dir(s.order.File)) // stays while another stack has a record in it
	}
}

// removeThings removes a record's control group and private folder. The
// kernel takes a moment to let a group go whose last process has ended.
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
