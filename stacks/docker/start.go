package docker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/go-connections/nat"
	"golang.org/x/sync/errgroup"

	options "stackmeter/scenarios/container"
	"stackmeter/scenarios/units"
	"stackmeter/stacks"
)

const logSize = "10m" // of each container; a server that logs each request must not fill the disk

// Start implements stacks.Runtime.
//
// ctx does not cut short the calls that make something, because an object could
// then exist without our knowing its id. It is checked between them.
func (r *Runtime) Start(ctx context.Context, spec stacks.Spec) (_ stacks.Stack, err error) {
	defer func() { err = lost(err) }()
	if spec, err = r.Give(spec); err != nil {
		return nil, err
	}
	direct, err := r.Local(ctx)
	if err != nil {
		return nil, err
	}
	st := &stack{runtime: r, spec: spec, id: stacks.RandomID(), direct: direct && !r.Publish, local: direct}
	st.services = make([]service, len(spec.Services))
	if err := st.start(ctx); err != nil {
		return nil, stacks.Abandon(ctx, st, r.Limits.start(), err)
	}
	return st, nil
}

func (st *stack) start(ctx context.Context) error {
	if err := st.createNetwork(ctx); err != nil {
		return err
	}
	if err := st.createSockets(ctx); err != nil {
		return err
	}
	var creating errgroup.Group
	for i, s := range st.spec.Services {
		creating.Go(func() error { return named(s, st.create(ctx, i, s)) })
	}
	if err := creating.Wait(); err != nil {
		return err
	}
	var err error
	if st.watching, err = st.watch(ctx); err != nil {
		return err
	}
	// Services of the scenario's own start one after the other. A proxy does not wait
	// until its upstreams have started: it needs no more than their addresses.
	var starting errgroup.Group
	for i := range st.services {
		st.services[i].attempted = make(chan struct{})
	}
	for i, s := range st.spec.Services {
		starting.Go(func() error {
			defer close(st.services[i].attempted)
			if s.Proxy != nil {
				if err := st.configure(ctx, i); err != nil {
					return named(s, err)
				}
			} else if i > 0 && s.Role == stacks.RoleOther {
				<-st.services[i-1].attempted
				if !st.services[i-1].started {
					return nil // that one has reported its failure
				}
			}
			if err := context.Cause(ctx); err != nil {
				return err
			}
			return named(s, st.startService(ctx, i))
		})
	}
	return starting.Wait()
}

// named says which service an error is about.
func named(s stacks.Service, err error) error {
	if err != nil {
		return fmt.Errorf("service %s: %w", s.Name, err)
	}
	return nil
}

// address waits until a service has one, and returns it with the port. It is there
// well before the start is complete.
func (st *stack) address(ctx context.Context, name string) (address stacks.Address, err error) {
	up, err := st.spec.Index(name)
	if err != nil {
		return address, err
	}
	s := st.spec.Services[up]
	if s.Unix {
		return stacks.Address{Socket: s.SocketPath()}, nil
	}
	attempted := false
	for {
		found, err := st.inspectNetwork(ctx)
		if err != nil {
			return address, fmt.Errorf("address of service %s: %w", name, err)
		}
		if prefix, err := netip.ParsePrefix(found.Containers[st.services[up].container].IPv4Address); err == nil {
			return stacks.Address{Host: prefix.Addr().String(), Port: s.Port}, nil
		}
		if attempted {
			found, err := st.runtime.api.ContainerInspect(ctx, st.services[up].container)
			if err == nil && found.State.Status == container.StateExited {
				return address, fmt.Errorf("service %s, which it stands in front of, %w: %w", name, stacks.ErrEnded, st.ending(ctx, found))
			}
			return address, fmt.Errorf("service %s, which it stands in front of, has no address", name)
		}
		select {
		case <-ctx.Done():
			return address, context.Cause(ctx)
		case <-st.services[up].attempted:
			attempted = true // one more look
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (st *stack) inspectNetwork(ctx context.Context) (network.Inspect, error) {
	ctx, cancel := context.WithTimeout(ctx, st.runtime.Limits.call())
	defer cancel()
	return st.runtime.api.NetworkInspect(ctx, st.network, network.InspectOptions{})
}

// labels are on every object of the stack.
func (st *stack) labels() map[string]string {
	return map[string]string{
		LabelRun:   st.spec.Run,
		LabelStack: st.id,
		LabelOwner: st.runtime.owner.String(),
	}
}

// serviceLabels are on the container of a service.
func (st *stack) serviceLabels(s stacks.Service) map[string]string {
	labels := st.labels()
	labels[labelService] = s.Name
	return labels
}

// creating is called before an object of a run is made, and done afterwards. It
// fails when ctx has ended. The context that it returns ends by the limit alone:
// making an object is not cut short. A sweep of a cancelled run waits for it
// first, because an object that came after the sweep would stay for good.
func (r *Runtime) creating(ctx context.Context, limit time.Duration) (_ context.Context, done func(), err error) {
	r.making.RLock()
	if err := context.Cause(ctx); err != nil {
		r.making.RUnlock()
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	return ctx, func() {
		cancel()
		r.making.RUnlock()
	}, nil
}

func (st *stack) createNetwork(ctx context.Context) error {
	ctx, done, err := st.runtime.creating(ctx, st.runtime.Limits.call())
	if err != nil {
		return err
	}
	defer done()
	net, err := st.runtime.api.NetworkCreate(ctx, st.name("net"), network.CreateOptions{
		Driver: "bridge",
		Labels: st.labels(),
	})
	if err != nil {
		return fmt.Errorf("private network: %w%s", err, networkHint(err))
	}
	st.network = net.ID
	return nil
}

// networkHint says what to do when the engine has no address range left.
func networkHint(err error) string {
	if strings.Contains(err.Error(), "non-overlapping") || strings.Contains(err.Error(), "fully subnetted") {
		return "; the engine's address pools are used up by other networks: see docker network ls, remove what nobody needs (stackmeter clean removes stackmeter's own leftovers), or give the engine larger default-address-pools"
	}
	return ""
}

// name is the name of a container or network: readable in docker ps and unique.
func (st *stack) name(part string) string {
	return "stackmeter-" + st.id + "-" + part
}

// createSockets makes the volume in which a server and its proxy meet, if there is
// one. It is kept in memory. Like /tmp it is open to all users: those of two images
// have nothing to do with each other.
func (st *stack) createSockets(ctx context.Context) error {
	if !slices.ContainsFunc(st.spec.Services, func(s stacks.Service) bool { return s.Unix }) {
		return nil
	}
	ctx, done, err := st.runtime.creating(ctx, st.runtime.Limits.call())
	if err != nil {
		return err
	}
	defer done()
	made, err := st.runtime.api.VolumeCreate(ctx, volume.CreateOptions{
		Name: st.name("sockets"), Driver: "local", Labels: st.labels(),
		DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": stacks.SocketOptions},
	})
	if err != nil {
		return fmt.Errorf("volume for sockets: %w", err)
	}
	st.sockets = made.Name
	return nil
}

// socketMounts is the volume in the container of a service that needs it.
func (st *stack) socketMounts(s stacks.Service) []mount.Mount {
	if st.sockets == "" || !s.Unix && s.Proxy == nil {
		return nil
	}
	return []mount.Mount{{Type: mount.TypeVolume, Source: st.sockets, Target: stacks.SocketFolder, VolumeOptions: &mount.VolumeOptions{NoCopy: true}}}
}

func (st *stack) create(ctx context.Context, i int, s stacks.Service) error {
	imageID, err := st.runtime.image(ctx, s, func(string) {})
	if err != nil {
		return err
	}
	host := hostConfig(s)
	host.NetworkMode = container.NetworkMode(st.network)
	if host.Mounts, st.services[i].mounted, err = mounts(s); err != nil {
		return err
	}
	host.Mounts = append(host.Mounts, st.socketMounts(s)...)
	if len(s.GPUs) > 0 {
		request, err := st.runtime.proveGPU(ctx, st.spec, s, imageID, func(string) {})
		if err != nil {
			return err
		}
		host.DeviceRequests = []container.DeviceRequest{request}
	}
	ctx, done, err := st.runtime.creating(ctx, st.runtime.Limits.start())
	if err != nil {
		return err
	}
	defer done()
	config := &container.Config{
		Image:      imageID,
		User:       s.Container.User,
		WorkingDir: s.Container.Workdir,
		Cmd:        s.Argv(s.InContainer(st.spec.ByName())),
		Env:        stacks.Environ(s.Env, s.MPSEnvironment(mpsFolder)),
		Labels:     st.serviceLabels(s),
	}
	if _, operators := s.Env[visibleGPUs]; len(s.GPUs) == 0 && !operators {
		config.Env = append(config.Env, noGPU)
	}
	if s.Container.Entrypoint != nil {
		config.Entrypoint = s.Container.Entrypoint
	} else if len(s.Command) > 0 {
		// The scenario's argv is the whole command. With the image's entry point
		// in front of it something else would run.
		config.Entrypoint = []string{}
	}
	port := nat.Port(strconv.Itoa(s.Port) + "/tcp")
	if !st.direct && i == len(st.spec.Services)-1 {
		config.ExposedPorts = nat.PortSet{port: {}}
		host.PortBindings = nat.PortMap{port: {{HostIP: "127.0.0.1"}}}
	}
	net := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
		st.network: {Aliases: []string{s.Name}},
	}}
	made, err := st.runtime.api.ContainerCreate(ctx, config, host, net, nil, st.name(s.Name))
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("create the container: %w; somebody removed the image since the run began, and what is now called so may be another one: start a new run", err)
	}
	if err != nil {
		return fmt.Errorf("create the container: %w", err)
	}
	st.services[i].container = made.ID
	return nil
}

// hostConfig confines a service's container.
func hostConfig(s stacks.Service) *container.HostConfig {
	o := s.Container
	init := o.Init == nil || *o.Init
	pids := int64(cmp.Or(o.PIDs, stacks.PIDsLimit))
	return &container.HostConfig{
		Init:           &init,
		ReadonlyRootfs: o.ReadOnly != nil && *o.ReadOnly,
		ShmSize:        o.ShmSize,
		Tmpfs:          tmpfs(o.Tmpfs),
		CapDrop:        []string{"ALL"},
		CapAdd:         o.Capabilities,
		SecurityOpt:    []string{"no-new-privileges"},
		LogConfig:      container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize, "max-file": "1"}},
		Resources: container.Resources{
			NanoCPUs:   int64(s.CPUs * 1e9),
			CpusetCpus: units.FormatCpuset(s.Cores),
			Memory:     s.Memory,
			MemorySwap: s.Memory, // no swap on top of the limit
			PidsLimit:  &pids,
			Ulimits:    ulimits(o),
		},
	}
}

// mounts are what a container gets of this machine. found are the files and folders
// that the scenario asks for.
func mounts(s stacks.Service) (all []mount.Mount, found []os.FileInfo, err error) {
	all = mpsMounts(s)
	for _, m := range s.Container.Mounts {
		info, err := os.Lstat(m.From)
		if err != nil {
			return nil, nil, fmt.Errorf("mount: %w", err)
		}
		// The path has had no links since the scenario was read: with one it would lead
		// elsewhere than where it was allowed to.
		if real, err := filepath.EvalSymlinks(m.From); err != nil {
			return nil, nil, fmt.Errorf("mount of %s: %w", m.From, err)
		} else if real != m.From {
			return nil, nil, fmt.Errorf("mount of %s: it is, or is behind, a symbolic link by now, which it was not when the scenario was read", m.From)
		}
		// What is mounted below it would not be read-only.
		all = append(all, mount.Mount{Type: mount.TypeBind, Source: m.From, Target: m.To, ReadOnly: true, BindOptions: &mount.BindOptions{NonRecursive: true}})
		found = append(found, info)
	}
	return all, found, nil
}

// exchanged fails if a container got something else than was found: somebody put a link
// in its way in the moment before the start. It sees that only where this process sees
// the container's files; pid is that of its first process.
func exchanged(pid int, found []os.FileInfo, mounts []options.Mount) error {
	for i, m := range mounts {
		root, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", pid))
		if err != nil {
			return nil
		}
		inside, err := root.Stat(m.To[1:])
		root.Close()
		if err == nil && !os.SameFile(inside, found[i]) {
			return fmt.Errorf("mount of %s: something else was put in its place while the container started, and may have been read", m.From)
		}
	}
	return nil
}

// ulimits are those that the scenario sets, and the size of a file that none exceeds.
func ulimits(o options.Options) []*container.Ulimit {
	all := []*container.Ulimit{}
	if _, said := o.Ulimits["fsize"]; !said {
		all = append(all, &container.Ulimit{Name: "fsize", Soft: stacks.FileLimit, Hard: stacks.FileLimit})
	}
	for name, limit := range o.Ulimits {
		all = append(all, &container.Ulimit{Name: name, Soft: limit.Soft, Hard: limit.Hard})
	}
	return all
}

// tmpfs are file systems in memory, by their paths, with the options of mount(8). As
// in the rest of the container, programs can be run from there: compilers of models
// (Triton, numba) load what they have just written.
func tmpfs(sizes map[string]int64) map[string]string {
	all := map[string]string{}
	for path, size := range sizes {
		all[path] = fmt.Sprintf("rw,exec,nosuid,nodev,mode=1777,size=%d", size)
	}
	return all
}

// listens is where a service has to listen, at whatever address its container gets.
func listens(s stacks.Service) netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(s.Port))
}

// configure writes the configuration of a proxy into its container, which has not been
// started. The upstreams are addresses, not names: a proxy looks names up when it
// starts, and ends if one is not there yet.
func (st *stack) configure(ctx context.Context, i int) error {
	s := st.spec.Services[i]
	reach := map[string]stacks.Address{}
	for _, name := range s.Proxy.Upstreams {
		address, err := st.address(ctx, name)
		if err != nil {
			return err
		}
		reach[name] = address
	}
	at := s.InContainer(reach)
	config := s.Proxy.Text(at)
	ctx, cancel := context.WithTimeout(ctx, st.runtime.Limits.call())
	defer cancel()
	var body bytes.Buffer
	tw := tar.NewWriter(&body)
	// Writing to a buffer cannot fail.
	_ = tw.WriteHeader(&tar.Header{Name: path.Base(at.Config), Mode: 0o644, Size: int64(len(config)), ModTime: time.Unix(0, 0)})
	_, _ = tw.Write([]byte(config))
	_ = tw.Close()
	if err := st.runtime.api.CopyToContainer(ctx, st.services[i].container, path.Dir(at.Config), &body, container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", at.Config, err)
	}
	return nil
}

func (st *stack) startService(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.runtime.Limits.start())
	defer cancel()
	one := &st.services[i]
	if err := st.runtime.api.ContainerStart(ctx, one.container, container.StartOptions{}); err != nil {
		return startError(err)
	}
	found, err := st.runtime.api.ContainerInspect(ctx, one.container)
	if err != nil {
		return fmt.Errorf("inspect the container: %w", err)
	}
	one.started = true
	one.image = found.Image
	one.pid, one.endpoint = found.State.Pid, endpoint(found)
	for _, n := range found.NetworkSettings.Networks {
		one.address, _ = netip.ParseAddr(n.IPAddress)
	}
	if err := exchanged(one.pid, one.mounted, st.spec.Services[i].Container.Mounts); err != nil {
		return err
	}
	if i == len(st.services)-1 {
		return st.locate(ctx, found)
	}
	return nil
}

// locate finds where the client connects.
func (st *stack) locate(ctx context.Context, entry container.InspectResponse) error {
	port := strconv.Itoa(st.spec.Entry().Port)
	if st.direct {
		for _, n := range entry.NetworkSettings.Networks {
			if n.IPAddress != "" {
				st.url = st.spec.Scheme() + "://" + net.JoinHostPort(n.IPAddress, port)
				return nil
			}
		}
		return st.ended(ctx, entry, "it has no address in its network")
	}
	for _, b := range entry.NetworkSettings.Ports[nat.Port(port+"/tcp")] {
		st.url = st.spec.Scheme() + "://" + net.JoinHostPort("127.0.0.1", b.HostPort)
		return nil
	}
	return st.ended(ctx, entry, "its port was not published")
}

// ended explains why an entry has no address: most often it has ended already.
func (st *stack) ended(ctx context.Context, c container.InspectResponse, otherwise string) error {
	if !c.State.Running {
		return st.ending(ctx, c)
	}
	return fmt.Errorf("the container runs, but %s", otherwise)
}

// startError adds the remedy to the engine's error of a start that failed.
func startError(err error) error {
	if known := toolkitError(err); known != nil {
		return known
	}
	text := err.Error()
	if strings.Contains(text, "executable file not found") || strings.Contains(text, "no such file or directory") {
		return fmt.Errorf("the command is not in the image: %w; check the topology's command against the image", err)
	}
	if strings.Contains(text, "unable to find user") || strings.Contains(text, "unable to find group") {
		return fmt.Errorf("the image does not know the user: %w; write user as numbers (1000:1000), or add it in the Dockerfile (RUN useradd)", err)
	}
	if strings.Contains(text, "setting rlimit") {
		return fmt.Errorf("the engine cannot set the ulimits: %w; ask for less (nofile is bounded by fs.nr_open, the rest by what the engine itself has)", err)
	}
	return fmt.Errorf("start the container: %w", err)
}
