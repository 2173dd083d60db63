//go:build linux

package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

// startTimeout is of a supervisor, on a machine that is busy or reads from a slow disk.
const startTimeout = time.Minute

// groupLimits returns the limits of a service's control group.
func groupLimits(s stacks.Service) cgroup.Limits {
	return cgroup.Limits{CPUs: s.CPUs, Memory: s.Memory, PIDs: cmp.Or(s.Container.PIDs, stacks.PIDsLimit)}
}

// Start implements stacks.Runtime.
func (r *Runtime) Start(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	spec, err := r.Give(spec)
	if err != nil {
		return nil, err
	}
	folder, err := openFolder(r.folders)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	st := &stack{runtime: r, spec: spec, id: stacks.RandomID(), folder: folder}
	if err := st.start(ctx); err != nil {
		return nil, stacks.Abandon(ctx, st, stopTimeout, err)
	}
	return st, nil
}

func (st *stack) start(ctx context.Context) error {
	// Reserve all ports first: a command may name a service that starts later.
	for range st.spec.Services {
		port, err := reserve()
		if err != nil {
			return err
		}
		st.ports = append(st.ports, port)
	}
	for i, s := range st.spec.Services {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := st.startService(ctx, i, s); err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
	}
	return nil
}

// address is where a service listens.
func (st *stack) address(i int) stacks.Address {
	return stacks.Address{Host: loopback, Port: st.ports[i].port, Socket: filepath.Join(st.room(i), "socket")}
}

func (st *stack) listens(i int) netip.AddrPort {
	return netip.MustParseAddrPort(st.address(i).String())
}

func (st *stack) startService(ctx context.Context, i int, s stacks.Service) error {
	t, group, err := st.task(ctx, i, s)
	if err != nil {
		return err
	}
	if !shares(s) {
		st.ports[i].release()
	}
	one := &service{
		name: s.Name, port: st.address(i), file: t.File, record: t.Record, group: group, env: t.Env,
		logs:    output{kept: show.Tail{Max: stacks.LogBytes, Drop: st.spec.Probed}},
		started: make(chan event, 1), gone: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := one.run(st.runtime, t); err != nil {
		return err
	}
	st.services = append(st.services, one)
	select {
	case done := <-one.started:
		if done.Started == nil {
			return errors.New(done.Failed)
		}
		one.record.First = *done.Started
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(startTimeout):
		return fmt.Errorf("its supervisor, process %d, says nothing after %v", one.record.Supervisor.PID, startTimeout)
	}
}

// task returns what a service's supervisor has to make and to start, and the
// group by which it is metered.
func (st *stack) task(ctx context.Context, i int, s stacks.Service) (t task, group cgroup.Group, err error) {
	base := filepath.Base(st.room(i))
	t = task{
		Cores:   s.Cores,
		Ulimits: s.Container.Ulimits,
		PIDs:    cmp.Or(s.Container.PIDs, stacks.PIDsLimit),
		Written: st.runtime.written,
		File:    filepath.Join(st.folder, base+recordSuffix),
		Record: record{
			Run: st.spec.Run, Topology: st.spec.Name, Service: s.Name, Mark: base,
			Owner: st.runtime.owner.String(), Dir: s.Dir,
		},
	}
	at := st.site(i)
	argv := s.Argv(at)
	if s.Proxy != nil {
		t.Files = []file{{Path: at.Config, Text: s.Proxy.Text(at)}}
		t.Record.Dir = at.Folder
		// What it would write elsewhere goes with its folder.
		own := map[string]string{"HOME": at.Folder, "XDG_CONFIG_HOME": at.Folder, "XDG_DATA_HOME": at.Folder}
		maps.Copy(own, s.Env)
		s.Env = own
	}
	if s.Proxy != nil || s.Unix {
		t.Record.Temp = at.Folder
	}
	if s.Proxy != nil && !plainPath.MatchString(at.Folder) {
		return t, group, fmt.Errorf("its folder %q cannot be written in a configuration: set XDG_RUNTIME_DIR to one of letters, digits and _ . / + @ -", at.Folder)
	}
	if s.Unix && len(at.Listen.Socket) > maxSocket {
		return t, group, fmt.Errorf("its socket %s has a path of more than %d bytes, which no address of a socket holds; set XDG_RUNTIME_DIR to a folder with a shorter one", at.Listen.Socket, maxSocket)
	}
	if len(argv) == 0 {
		return t, group, errors.New("it has no command, and a local process has no image that says one")
	}
	t.Env = environment(s, st.spec.Run, base, os.Environ())
	if t.Path, t.Argv, err = entered(ctx, s, argv, t.Env); err != nil {
		return t, group, err
	}
	if st.runtime.ungrouped == nil {
		if t.Groups, group, err = st.runtime.maker.Plan("stackmeter-"+base, groupLimits(s)); err != nil {
			return t, group, err
		}
		for _, f := range t.Groups {
			t.Record.Groups = append(t.Record.Groups, f.Path)
		}
	} else if err := st.runtime.limits(s); err != nil {
		return t, group, fmt.Errorf("%w: %w", stacks.ErrUnavailable, err)
	}
	return t, group, nil
}

var plainPath = regexp.MustCompile(`^/[A-Za-z0-9_./+@-]*$`)

// maxSocket is the longest path of a Unix socket, in bytes (unix(7)).
const maxSocket = 107

// room is the private folder of a service.
func (st *stack) room(i int) string { return filepath.Join(st.folder, fmt.Sprintf("%s-%d", st.id, i)) }

// site is where a service is.
func (st *stack) site(i int) stacks.Site {
	at := stacks.Site{Listen: st.address(i), Reach: map[string]stacks.Address{}, Folder: st.room(i), Root: os.Getuid() == 0}
	at.Config = filepath.Join(at.Folder, "stackmeter.conf")
	for j, other := range st.spec.Services {
		at.Reach[other.Name] = st.address(j)
	}
	return at
}

// A service is one supervisor and what stands below it.
type service struct {
	name   string
	port   stacks.Address
	file   string // of its record
	record record // Supervisor and First once they are known
	group  cgroup.Group
	env    []string

	control io.Closer // closing it tells the supervisor to stop
	process *os.Process
	logs    output
	stderr  show.Tail // the supervisor's own

	started chan event    // one value: how the start of the program went
	gone    chan struct{} // closed when the supervisor has ended
	ended   chan struct{} // closed when ending is known
	ending  ending        // written before ended is closed
}

// run starts the supervisor and gives it its task.
func (one *service) run(r *Runtime, t task) error {
	cmd := exec.Command(r.launcher[0], r.launcher[1:]...)
	cmd.Env = launcherEnvironment()
	// In a session of its own it does not get Ctrl-C, which is for stackmeter.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stderr = &one.stderr
	control, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	reports, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	logRead, logWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{logWrite} // logFD
	err = cmd.Start()
	logWrite.Close()
	if err != nil {
		logRead.Close()
		return fmt.Errorf("start its supervisor: %w", err)
	}
	one.control, one.process = control, cmd.Process
	one.record.Supervisor.PID = cmd.Process.Pid
	// Nobody has waited for it yet, so the PID is still its own.
	one.record.Supervisor.Start, _ = stacks.StartTime(cmd.Process.Pid)

	one.logs.pipe = logRead
	go one.logs.follow()
	go one.follow(cmd, json.NewDecoder(reports))
	// A supervisor that ended at once says why itself, and one that does not read
	// must not block the start.
	go func() { _ = json.NewEncoder(control).Encode(t) }()
	return nil
}

// follow reads a supervisor's events until it is gone.
func (one *service) follow(cmd *exec.Cmd, reports *json.Decoder) {
	defer close(one.gone)
	var first event
	unsaid := reports.Decode(&first)
	if unsaid == nil {
		one.started <- first
	}
	var last event
	if err := reports.Decode(&last); err == nil && last.Ended != nil {
		one.ending = *last.Ended
		close(one.ended)
	}
	if unsaid != nil {
		_ = cmd.Process.Kill() // whatever it is, it is no supervisor
	}
	err := cmd.Wait()
	if unsaid != nil {
		for _, line := range one.stderr.Lines(stacks.LogLines) {
			unsaid = fmt.Errorf("%w: %s", unsaid, line)
		}
		one.started <- event{Failed: fmt.Sprintf("its supervisor ended (%v) before it started anything; does its program call process.Launcher? %v", cmp.Or(err, errors.New("with status 0")), unsaid)}
	}
}
