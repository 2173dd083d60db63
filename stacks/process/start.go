//go:build linux

package process

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
	"stackmeter/stacks/images"
)

const (
	startTimeout = time.Minute // of a supervisor, on a machine that is busy or reads from a slow disk
	pidsLimit    = 4096        // as the containers have
)

// groupLimits are the limits of a service's control group.
func groupLimits(s stacks.Service) cgroup.Limits {
	return cgroup.Limits{CPUs: s.CPUs, Memory: s.Memory, PIDs: pidsLimit}
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
	st := &stack{runtime: r, spec: spec, id: randomID(), folder: folder}
	if err := st.start(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if left := st.Stop(stopCtx); left != nil {
			return nil, fmt.Errorf("%w; and then: %w", err, left)
		}
		return nil, err
	}
	return st, nil
}

func randomID() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (st *stack) start(ctx context.Context) error {
	// All ports first: a command may name a service that starts after it.
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
	return stacks.Address{Host: loopback, Port: st.ports[i].port}
}

func (st *stack) startService(ctx context.Context, i int, s stacks.Service) error {
	o, group, err := st.order(ctx, i, s)
	if err != nil {
		return err
	}
	if !shares(s) {
		st.ports[i].release()
	}
	one := &service{
		name: s.Name, port: st.address(i), file: o.File, record: o.Record, group: group, env: o.Env,
		logs:    show.Tail{Max: stacks.LogBytes},
		started: make(chan outcome, 1), gone: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := one.run(st.runtime, o); err != nil {
		return err
	}
	st.services = append(st.services, one)
	select {
	case done := <-one.started:
		one.record.First = done.first
		return done.err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(startTimeout):
		return fmt.Errorf("its supervisor, process %d, says nothing after %v", one.record.Supervisor.PID, startTimeout)
	}
}

// order says what a service's supervisor has to make and to start.
func (st *stack) order(ctx context.Context, i int, s stacks.Service) (order, cgroup.Group, error) {
	base := fmt.Sprintf("%s-%d", st.id, i)
	o := order{
		File: filepath.Join(st.folder, base+recordSuffix),
		Record: record{
			Run: st.spec.Run, Topology: st.spec.Name, Service: s.Name, Mark: base,
			Owner: st.runtime.owner.String(), Dir: s.Dir,
		},
	}
	reach := map[string]stacks.Address{}
	for j, other := range st.spec.Services {
		reach[other.Name] = st.address(j)
	}
	argv := s.Argv(st.address(i), reach)
	if s.Proxy != nil {
		config, err := st.proxy(i, s, filepath.Join(st.folder, base))
		if err != nil {
			return order{}, cgroup.Group{}, err
		}
		o.Record.Temp, o.Record.Dir = filepath.Dir(config.Path), filepath.Dir(config.Path)
		o.Files = []file{config}
		// Not the log file that nginx was built with, which belongs to root.
		argv = []string{"nginx", "-c", config.Path, "-e", "stderr"}
	}
	if len(argv) == 0 {
		return order{}, cgroup.Group{}, errors.New("it has no command, and a local process has no image that says one")
	}
	env := environment(s, st.spec.Run, base, os.Environ())
	path, argv, err := resolve(ctx, s, argv, env)
	if err != nil {
		return order{}, cgroup.Group{}, err
	}
	o.Program = Program{Path: path, Argv: argv, Env: env}
	o.Cores = s.Cores

	var group cgroup.Group
	if st.runtime.Ungrouped() == nil {
		if o.Groups, group, err = st.runtime.maker.Plan("stackmeter-"+base, groupLimits(s)); err != nil {
			return order{}, cgroup.Group{}, err
		}
		for _, f := range o.Groups {
			o.Record.Groups = append(o.Record.Groups, f.Path)
		}
	} else if err := st.runtime.limits(s); err != nil {
		return order{}, cgroup.Group{}, fmt.Errorf("%w: %w", stacks.ErrUnavailable, err)
	}
	return o, group, nil
}

// proxy is the configuration of nginx in front of another service. All that
// nginx writes goes to the same folder.
func (st *stack) proxy(i int, s stacks.Service, temp string) (file, error) {
	upstream := slices.IndexFunc(st.spec.Services, func(o stacks.Service) bool { return o.Name == s.Proxy.Upstream })
	if upstream < 0 {
		return file{}, fmt.Errorf("it stands in front of a service %q that the stack does not have", s.Proxy.Upstream)
	}
	text, err := images.NginxConfig(images.NginxOptions{
		Listen: st.address(i).String(), Upstream: st.address(upstream).String(),
		Timeout: s.Proxy.Timeout, TempDir: temp,
	})
	return file{Path: filepath.Join(temp, "nginx.conf"), Text: text}, err
}

// A service is one supervisor and what stands below it.
type service struct {
	name   string
	port   stacks.Address
	file   string // of its record
	record record // Supervisor and First once they are known
	group  cgroup.Group
	env    []string

	control io.Closer // its end is the order to stop
	process *os.Process
	logs    show.Tail
	stderr  show.Tail // the supervisor's own

	started chan outcome  // one value
	gone    chan struct{} // closed when the supervisor has ended
	ended   chan struct{} // closed when ending is known
	ending  ending        // written before ended is closed
}

// An outcome is how the start of a program went.
type outcome struct {
	first identity
	err   error
}

// run starts the supervisor and tells it its order.
func (one *service) run(r *Runtime, o order) error {
	argv, err := r.command()
	if err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = launcherEnvironment()
	// A session of its own: Ctrl-C reaches only the one who decides.
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
	// It has not been waited for: its PID is still its own.
	one.record.Supervisor.Start, _ = stacks.StartTime(cmd.Process.Pid)

	logged := make(chan struct{})
	go func() {
		defer close(logged)
		defer logRead.Close()
		_, _ = io.Copy(&one.logs, logRead)
	}()
	go one.follow(cmd, json.NewDecoder(reports), logged)
	// A supervisor that ended at once says why itself. One that does not read
	// must not be waited for.
	go func() { _ = json.NewEncoder(control).Encode(o) }()
	return nil
}

// logPatience is for the last output of processes that have ended.
const logPatience = time.Second

// follow reads a supervisor's reports until it is gone.
func (one *service) follow(cmd *exec.Cmd, reports *json.Decoder, logged <-chan struct{}) {
	defer close(one.gone)
	var first report
	unsaid := reports.Decode(&first)
	switch {
	case unsaid != nil:
	case first.Started != nil:
		one.started <- outcome{first: *first.Started}
	default:
		one.started <- outcome{err: errors.New(first.Failed)}
	}
	var last report
	if err := reports.Decode(&last); err == nil && last.Ended != nil {
		// Who learns that the service ended looks at its last words next.
		select {
		case <-logged:
		case <-time.After(logPatience):
		}
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
		one.started <- outcome{err: fmt.Errorf("its supervisor ended (%w) before it started anything; does its program call process.Launcher? %w", cmp.Or(err, errors.New("with status 0")), unsaid)}
	}
}
