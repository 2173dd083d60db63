package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

// A stack is one running instance; it implements stacks.Stack.
type stack struct {
	runtime  *Runtime
	spec     stacks.Spec
	id       string
	network  string
	sockets  string // the volume in which they are; empty without any
	direct   bool   // the client reaches the entry's own address
	local    bool   // the containers' processes are processes of this kernel
	url      string
	services []service // as in spec
	watching *watch    // nil until the services start
}

type service struct {
	container string
	image     string     // the id of the image that runs
	endpoint  string     // of its network
	address   netip.Addr // in its network; not valid if it had ended already
	pid       int        // of its init process, on the engine's machine; 0 if it had ended already
	started   bool
	mounted   []os.FileInfo // what its mounts are of
	attempted chan struct{} // closed when its start has succeeded or failed
}

func (st *stack) URL() string { return st.url }

// Check implements stacks.Stack.
func (st *stack) Check(ctx context.Context) error {
	err := lost(st.look(ctx))
	if why := st.watching.interference(ctx); why != nil {
		if err != nil {
			return fmt.Errorf("%w: %w", why, err)
		}
		return why
	}
	return err
}

// look asks the engine for the state of every service.
func (st *stack) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, st.runtime.Limits.call())
	defer cancel()
	for i, s := range st.spec.Services {
		found, err := st.runtime.api.ContainerInspect(ctx, st.services[i].container)
		if errdefs.IsNotFound(err) {
			st.watching.ended(ctx, st.services[i].container)
			return fmt.Errorf("service %s %w: its container was removed by someone else", s.Name, stacks.ErrEnded)
		}
		if err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
		if !found.State.Running {
			st.watching.ended(ctx, st.services[i].container)
			return fmt.Errorf("service %s %w: %w", s.Name, stacks.ErrEnded, st.ending(ctx, found))
		}
		if endpoint(found) != st.services[i].endpoint {
			return fmt.Errorf("service %s %w: it was disconnected from its network", s.Name, stacks.ErrDisturbed)
		}
	}
	return nil
}

// endpoint identifies how a container is connected to the one network that it was
// given: each connection has another one.
func endpoint(c container.InspectResponse) string {
	for _, n := range c.NetworkSettings.Networks {
		return n.EndpointID
	}
	return ""
}

// Devices implements stacks.Stack.
func (st *stack) Devices() []string { return st.spec.Given() }

// Inspect implements stacks.Stack.
func (st *stack) Inspect(ctx context.Context) (_ stacks.Facts, err error) {
	defer func() { err = lost(err) }()
	ctx, cancel := context.WithTimeout(ctx, st.runtime.Limits.call())
	defer cancel()
	facts := stacks.Facts{Route: stacks.RoutePublished, GPU: "none was asked for"}
	if st.direct {
		facts.Route = stacks.RouteDirect
	}
	facts.Services = make([]stacks.ServiceFacts, len(st.services))
	var group errgroup.Group
	for i, s := range st.spec.Services {
		if len(s.GPUs) > 0 {
			facts.GPU = strings.Join(s.GPUs, ", ")
		}
		group.Go(func() error {
			one := st.services[i]
			processes := st.ownProcesses(one)
			if len(processes) == 0 { // the engine knows why, or sees what cannot be seen from here
				var err error
				if processes, err = st.processes(ctx, s.Name, one.container); err != nil {
					return fmt.Errorf("service %s: %w", s.Name, err)
				}
			}
			facts.Services[i] = stacks.ServiceFacts{
				Service: s.Name, Container: one.container, Image: s.Image, Digest: one.image, GPUs: s.GPUs, Processes: processes,
			}
			return nil
		})
	}
	err = group.Wait()
	return facts, err
}

// ownProcesses reads the processes of a service where they are processes of this
// kernel and this PID namespace; none elsewhere. The engine would run ps over all
// processes of the machine, before and after each cell.
func (st *stack) ownProcesses(of service) (list []stacks.Process) {
	group, err := cgroup.Of(of.pid)
	if !st.local || err != nil || !group.Holds(of.container) {
		return nil
	}
	for _, pid := range group.Processes() {
		switch p, err := stacks.ReadProcess(pid); {
		case err != nil: // it has ended meanwhile
		case pid == of.pid:
			list = slices.Insert(list, 0, p)
		default:
			list = append(list, p)
		}
	}
	return list
}

// processes asks the engine, which sees the host's PIDs even if stackmeter does
// not.
func (st *stack) processes(ctx context.Context, name, id string) (list []stacks.Process, err error) {
	args, podman := []string{"-ww", "-eo", "pid,ppid,nlwp,caught,args"}, st.runtime.podman.Load()
	if podman {
		args = []string{"hpid,pid,ppid,args"}
	}
	top, err := st.runtime.api.ContainerTop(ctx, id, args)
	if err == nil && !podman {
		list, err = psProcesses(top.Processes)
	} else if err == nil {
		files := []string{"cat"}
		for _, row := range top.Processes {
			files = append(files, "/proc/"+row[min(1, len(row)-1)]+"/status")
		}
		// It fails for one that has ended meanwhile, and says nothing in an image
		// without cat.
		status, _ := st.Exec(ctx, name, files...)
		list, err = podmanProcesses(top.Processes, string(status))
	}
	if err != nil {
		return nil, fmt.Errorf("list its processes: %w", err)
	}
	return list, nil
}

// psProcesses reads what ps answers to -o pid,ppid,nlwp,caught,args.
func psProcesses(rows [][]string) ([]stacks.Process, error) {
	var list []stacks.Process
	for _, row := range rows {
		n, err := numbers(row, 3)
		if err != nil {
			return nil, err
		}
		signals, err := strconv.ParseUint(row[3], 16, 64)
		if err != nil || len(row) < 5 {
			return nil, fmt.Errorf("the engine answered %q", row)
		}
		list = append(list, stacks.Process{PID: n[0], Parent: n[1], Threads: n[2], Signals: signals, Command: row[4]})
	}
	return list, nil
}

// podmanProcesses reads what Podman answers to hpid,pid,ppid,args. Podman does not
// run ps: it has other columns, and knows the parent only by its PID in the container.
// Threads and signals are in the files status of the processes, as the container has
// them (proc_pid_status(5)).
func podmanProcesses(rows [][]string, status string) ([]stacks.Process, error) {
	host := map[int]int{} // PID on the host by that in the container
	var list []stacks.Process
	for _, row := range rows {
		n, err := numbers(row, 3)
		if err != nil {
			return nil, err
		}
		host[n[1]] = n[0]
		list = append(list, stacks.Process{PID: n[0], Parent: n[2], Command: row[3]})
	}
	for i := range list {
		list[i].Parent = host[list[i].Parent] // 0 if it is outside of the container
	}
	pid := 0
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		if key == "Pid" {
			n, _ := strconv.Atoi(value)
			pid = host[n]
		}
		i := slices.IndexFunc(list, func(p stacks.Process) bool { return p.PID == pid })
		if i < 0 {
			continue
		}
		switch key { // a number that cannot be read is 0: not known
		case "Threads":
			list[i].Threads, _ = strconv.Atoi(value)
		case "SigCgt":
			list[i].Signals, _ = strconv.ParseUint(value, 16, 64)
		}
	}
	return list, nil
}

// numbers reads the first columns of a row, which has at least one more.
func numbers(row []string, columns int) ([]int, error) {
	if len(row) <= columns {
		return nil, fmt.Errorf("the engine answered %q", row)
	}
	var all []int
	for _, text := range row[:columns] {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("the engine answered %q", row)
		}
		all = append(all, n)
	}
	return all, nil
}

// dockerDNS is where the engine's own name server listens in each container.
var dockerDNS = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// Listening implements stacks.Stack. The container has a network of its own, so that
// its sockets are the service's. They are read from outside where that is possible:
// not every image has cat.
func (st *stack) Listening(ctx context.Context, name string) (asked netip.AddrPort, found []netip.AddrPort, err error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return asked, nil, err
	}
	one := st.services[i]
	asked = listens(st.spec.Services[i])
	var tables []byte
	if group, err := cgroup.Of(one.pid); err == nil && st.local && group.Holds(one.container) {
		for _, table := range []string{"tcp", "tcp6"} { // a kernel without IPv6 has one of them
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", one.pid, table))
			tables = append(tables, text...)
		}
	}
	if len(tables) == 0 {
		tables, err = st.Exec(ctx, name, "cat", "/proc/net/tcp", "/proc/net/tcp6")
	}
	for _, s := range stacks.ParseSockets(string(tables)) {
		if s.Address.Addr() != dockerDNS {
			found = append(found, s.Address)
		}
	}
	// What listens on :: takes IPv4 too, or does not. Through an engine that is not
	// here nobody can tell: it takes what comes to a published port itself.
	if slices.Contains(found, netip.AddrPortFrom(netip.IPv6Unspecified(), asked.Port())) && (!st.local || !stacks.Refused(ctx, netip.AddrPortFrom(one.address, asked.Port()))) {
		found = append(found, asked)
	}
	return asked, found, err
}

// Exec implements stacks.Stack.
func (st *stack) Exec(ctx context.Context, name string, argv ...string) (_ []byte, err error) {
	defer func() { err = lost(err) }()
	ctx, cancel := context.WithTimeout(ctx, st.runtime.Limits.call())
	defer cancel()
	i, err := st.spec.Index(name)
	if err != nil {
		return nil, err
	}
	made, err := st.runtime.api.ContainerExecCreate(ctx, st.services[i].container, container.ExecOptions{
		Cmd: argv, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, fmt.Errorf("run %s in service %s: %w", argv[0], name, err)
	}
	conn, err := st.runtime.stream("POST /exec/"+made.ID+"/start", func() (types.HijackedResponse, error) {
		return st.runtime.api.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("run %s in service %s: %w", argv[0], name, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, conn.Close)
	defer stop()
	var out stacks.Output
	if _, err := stdcopy.StdCopy(&out, &out, conn.Reader); err != nil {
		st.endExec(made.ID, st.services[i].container)
		return out.Bytes(), fmt.Errorf("run %s in service %s: %w", argv[0], name, err)
	}
	done, err := st.runtime.api.ContainerExecInspect(ctx, made.ID)
	if err != nil {
		return out.Bytes(), fmt.Errorf("run %s in service %s: %w", argv[0], name, err)
	}
	if done.ExitCode != 0 {
		return out.Bytes(), stacks.ExecFailed(argv[0], name, done.ExitCode, out.Bytes())
	}
	return out.Bytes(), nil
}

// endExec ends a command that was given up: the engine lets it go on. It is for an
// engine whose processes can be seen and killed from here; elsewhere the command ends
// with its container.
func (st *stack) endExec(id, inside string) {
	ctx, cancel := context.WithTimeout(context.Background(), st.runtime.Limits.call())
	defer cancel()
	found, err := st.runtime.api.ContainerExecInspect(ctx, id)
	if err != nil || !found.Running || !st.local {
		return
	}
	if group, err := cgroup.Of(found.Pid); err == nil && group.Holds(inside) {
		_ = syscall.Kill(found.Pid, syscall.SIGKILL)
	}
}

// Dial implements stacks.Stack. The connection begins in the proxy's container, where
// an address of the stack can be reached whatever the engine, and a socket at all.
func (st *stack) Dial(ctx context.Context, name string) (net.Conn, error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return nil, err
	}
	s, last := st.spec.Services[i], st.services[len(st.services)-1].container
	to := "TCP:" + net.JoinHostPort(s.Name, strconv.Itoa(s.Port))
	if s.Unix {
		to = "UNIX-CONNECT:" + s.SocketPath()
	}
	calling, cancel := context.WithTimeout(ctx, st.runtime.Limits.call())
	defer cancel()
	made, err := st.runtime.api.ContainerExecCreate(calling, last, container.ExecOptions{
		Cmd: []string{"socat", "-", to}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to service %s: %w", name, err)
	}
	conn, err := st.runtime.stream("POST /exec/"+made.ID+"/start", func() (types.HijackedResponse, error) {
		return st.runtime.api.ContainerExecAttach(calling, made.ID, container.ExecAttachOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("connect to service %s: %w", name, err)
	}
	read, write := io.Pipe()
	go func() {
		var said stacks.Output
		_, err := stdcopy.StdCopy(write, &said, conn.Reader)
		if err == nil && len(said.Bytes()) > 0 {
			err = fmt.Errorf("connect to service %s: %s", name, strings.TrimSpace(string(said.Bytes())))
		}
		_ = write.CloseWithError(err) // nil is the end of the file
	}()
	return tunnel{conn.Conn, read}, nil
}

// A tunnel is a connection through a command in a container.
type tunnel struct {
	net.Conn
	read *io.PipeReader // the command's output
}

// Read implements net.Conn.
func (t tunnel) Read(p []byte) (int, error) { return t.read.Read(p) }

// Close implements net.Conn.
func (t tunnel) Close() error {
	_ = t.read.Close()
	return t.Conn.Close()
}

// Meter implements stacks.Stack.
func (st *stack) Meter(context.Context) (stacks.Meter, error) {
	groups, err := st.groups()
	if err != nil {
		return unmeasured(err.Error()), nil
	}
	return cgroup.Start(groups), nil
}

// CPU implements stacks.Stack.
func (st *stack) CPU(context.Context) (time.Duration, error) {
	groups, err := st.groups()
	if err != nil {
		return 0, err
	}
	return cgroup.CPU(groups)
}

// groups are the control groups of the services.
func (st *stack) groups() ([]cgroup.Service, error) {
	if !st.local {
		return nil, errors.New("the engine is not on this machine, so the control groups of its containers cannot be read")
	}
	var groups []cgroup.Service
	for i, s := range st.spec.Services {
		group, err := cgroup.Of(st.services[i].pid)
		if err != nil {
			return nil, err
		}
		if !group.Holds(st.services[i].container) {
			return nil, errors.New("stackmeter is in another PID namespace than the engine, so the control groups of its containers cannot be found")
		}
		groups = append(groups, cgroup.Service{Name: s.Name, Group: group})
	}
	return groups, nil
}

// unmeasured is a meter that measures nothing and says why.
type unmeasured string

func (u unmeasured) Stop() stacks.Reading { return stacks.Reading{Reason: string(u)} }
func (unmeasured) Halted() error          { return nil }

// logLines is how many lines the engine is asked for: the probes of a long wait may
// stand behind the one that matters.
const logLines = 5000

// Logs implements stacks.Stack.
func (st *stack) Logs(ctx context.Context, w io.Writer) (failed error) {
	defer func() { failed = lost(failed) }()
	ctx, cancel := context.WithTimeout(ctx, st.runtime.Limits.call())
	defer cancel()
	var logs []stacks.Log
	for i, s := range st.spec.Services {
		id := st.services[i].container
		if id == "" {
			continue
		}
		one := stacks.Log{Service: s.Name}
		var user string
		if found, err := st.runtime.api.ContainerInspect(ctx, id); err == nil {
			user = found.Config.User
			if found.State.Status == container.StateExited {
				one.Ended, _ = time.Parse(time.RFC3339Nano, found.State.FinishedAt)
			}
		}
		body, err := st.runtime.api.ContainerLogs(ctx, id, container.LogsOptions{
			ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(logLines),
		})
		tail := show.Tail{Max: stacks.LogBytes, Drop: st.spec.Probed}
		if err == nil {
			_, err = stdcopy.StdCopy(&tail, &tail, body)
			body.Close()
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("logs of service %s: %w", s.Name, err))
		}
		one.Lines = tail.Lines(stacks.LogLines)
		for _, hint := range []string{refusedHint(one.Lines, user, s.Container.Capabilities), readOnlyHint(one.Lines, s.Container)} {
			if hint != "" {
				one.Lines = append(one.Lines, hint)
			}
		}
		logs = append(logs, one)
	}
	return errors.Join(failed, stacks.WriteLogs(w, logs))
}

// Stop implements stacks.Stack. It asks the engine, by the stack's label, what
// there is to remove: the engine also knows what a call that was cut short has
// made. If the engine does not answer, the error names what was made.
func (st *stack) Stop(ctx context.Context) error {
	st.watching.close()
	_, err := st.runtime.remove(ctx, filters.NewArgs(filters.Arg("label", LabelStack+"="+st.id)), stacks.Grace)
	if errors.Is(err, stacks.ErrLost) {
		return fmt.Errorf("remove stack %s: %w; once the engine answers, the next run or stackmeter clean removes what is still there of %s", st.spec.Name, err, strings.Join(st.made(), ", "))
	}
	if err != nil {
		return fmt.Errorf("remove stack %s: %w", st.spec.Name, err)
	}
	return nil
}

// made names what was made for the stack.
func (st *stack) made() []string {
	var names []string
	for i, s := range st.spec.Services {
		if st.services[i].container != "" {
			names = append(names, "container "+st.name(s.Name))
		}
	}
	if st.network != "" {
		names = append(names, "network "+st.name("net"))
	}
	if st.sockets != "" {
		names = append(names, "volume "+st.sockets)
	}
	return names
}
