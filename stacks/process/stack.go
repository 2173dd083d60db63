//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

// A stack is one running instance; it implements stacks.Stack.
type stack struct {
	runtime  *Runtime
	spec     stacks.Spec
	id       string
	folder   string // of the records
	ports    []*reservation
	services []*service // those that were started, as in spec

	mu      sync.Mutex // of stopping
	stopped bool
}

func (st *stack) URL() string {
	return st.spec.Scheme() + "://" + st.address(len(st.spec.Services)-1).String()
}

// Check implements stacks.Stack.
func (st *stack) Check(context.Context) error {
	for _, one := range st.services {
		var how error
		select {
		case <-one.gone:
			how = st.disappeared(one)
		default:
		}
		select {
		case <-one.ended:
			how = one.how()
		default:
		}
		if how != nil {
			return fmt.Errorf("service %s %w: %w", one.name, stacks.ErrEnded, how)
		}
	}
	return nil
}

// how says how a service ended.
func (one *service) how() error {
	e := one.ending
	switch {
	case e.Excess != "":
		return errors.New("it was ended: " + e.Excess)
	case e.Status > 0 && e.Status < 128 && one.logs.now().Contains("ddress already in use"):
		return fmt.Errorf("exited with status %d: the address %s was taken by another process before it listened", e.Status, one.port)
	}
	return stacks.Exited(e.Status, e.OOMKills > 0)
}

// disappeared says why a supervisor is gone that reported no end.
func (st *stack) disappeared(one *service) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stopped {
		return errors.New("it was stopped")
	}
	return fmt.Errorf("%w: its supervisor, process %d, was ended by someone else", stacks.ErrDisturbed, one.record.Supervisor.PID)
}

// Devices implements stacks.Stack.
func (st *stack) Devices() []string { return st.spec.Given() }

// Inspect implements stacks.Stack.
func (st *stack) Inspect(ctx context.Context) (stacks.Facts, error) {
	facts := stacks.Facts{Route: stacks.RouteLoopback, GPU: "none was asked for"}
	if err := st.Check(ctx); err != nil {
		return facts, err
	}
	for i, one := range st.services {
		if gpus := st.spec.Services[i].GPUs; len(gpus) > 0 {
			facts.GPU = strings.Join(gpus, ", ")
		}
		facts.Services = append(facts.Services, stacks.ServiceFacts{Service: one.name, GPUs: st.spec.Services[i].GPUs, Processes: one.processes()})
	}
	return facts, nil
}

// processes lists what runs below the supervisor, the service's first process
// first.
func (one *service) processes() (list []stacks.Process) {
	members := below(one.record.Supervisor.PID)
	slices.SortFunc(members, func(a, b member) int { return a.PID - b.PID })
	for _, m := range members {
		p, err := stacks.ReadProcess(m.PID)
		if err != nil { // it has ended
			continue
		}
		if m.identity == one.record.First {
			list = slices.Insert(list, 0, p)
		} else {
			list = append(list, p)
		}
	}
	return list
}

// Listening implements stacks.Stack. All services share the machine's network: a
// socket is a service's if one of its processes has it open.
func (st *stack) Listening(ctx context.Context, name string) (asked netip.AddrPort, listens []netip.AddrPort, err error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return asked, nil, err
	}
	asked = st.listens(i)
	open := map[string]bool{}
	for _, m := range below(st.services[i].record.Supervisor.PID) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", m.PID)) // none if it has ended
		for _, file := range files {
			target, _ := os.Readlink(file)
			open[target] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} { // a kernel without IPv6 has one of them
		text, _ := os.ReadFile("/proc/net/" + table)
		for _, s := range stacks.ParseSockets(string(text)) {
			if open["socket:["+s.Inode+"]"] {
				listens = append(listens, s.Address)
			}
		}
	}
	if any := netip.AddrPortFrom(netip.IPv6Unspecified(), asked.Port()); slices.Contains(listens, any) && !stacks.Refused(ctx, asked) {
		listens = append(listens, asked)
	}
	return asked, listens, nil
}

// Dial implements stacks.Stack.
func (st *stack) Dial(ctx context.Context, name string) (net.Conn, error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return nil, err
	}
	if at := st.address(i); st.spec.Services[i].Unix {
		return new(net.Dialer).DialContext(ctx, "unix", at.Socket)
	} else {
		return new(net.Dialer).DialContext(ctx, "tcp", at.String())
	}
}

// execTimeout bounds Exec.
const execTimeout = 30 * time.Second

// Exec implements stacks.Stack.
func (st *stack) Exec(ctx context.Context, name string, argv ...string) ([]byte, error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return nil, err
	}
	one := st.services[i]
	path, err := find(argv[0], one.env, one.record.Dir)
	if err != nil {
		return nil, fmt.Errorf("run %s in service %s: %w", argv[0], name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, execTimeout)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	out := stacks.Output{Full: end}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Env, cmd.Dir = argv, one.env, one.record.Dir
	// The command ends with this process: the thread that starts it stays until
	// then. Whatever it leaves running carries the stack's mark.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var status *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return out.Bytes(), fmt.Errorf("run %s in service %s: %w", argv[0], name, context.Cause(ctx))
	case errors.As(err, &status) && status.Exited():
		return out.Bytes(), stacks.ExecFailed(argv[0], name, status.ExitCode(), out.Bytes())
	case err != nil:
		return out.Bytes(), fmt.Errorf("run %s in service %s: %w", argv[0], name, err)
	}
	return out.Bytes(), nil
}

// Meter implements stacks.Stack.
func (st *stack) Meter(context.Context) (stacks.Meter, error) {
	if st.runtime.ungrouped != nil {
		return meterProc(st.services), nil
	}
	return cgroup.Start(st.groups()), nil
}

// groups are the control groups of the services.
func (st *stack) groups() []cgroup.Service {
	var groups []cgroup.Service
	for _, one := range st.services {
		groups = append(groups, cgroup.Service{Name: one.name, Group: one.group})
	}
	return groups
}

// CPU implements stacks.Stack.
func (st *stack) CPU(context.Context) (time.Duration, error) {
	if st.runtime.ungrouped != nil {
		return cpuProc(st.services)
	}
	return cgroup.CPU(st.groups())
}

// Logs implements stacks.Stack.
func (st *stack) Logs(_ context.Context, w io.Writer) error {
	var logs []stacks.Log
	for _, one := range st.services {
		log := stacks.Log{Service: one.name, Lines: one.logs.now().Lines(stacks.LogLines)}
		select {
		case <-one.ended:
			log.Ended = one.ending.At
		default:
		}
		logs = append(logs, log)
	}
	return stacks.WriteLogs(w, logs)
}
