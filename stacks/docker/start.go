package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"golang.org/x/sync/errgroup"

	"stackmeter/stacks"
	"stackmeter/stacks/images"
)

const (
	nginxConfig = "/etc/nginx/nginx.conf"
	pidsLimit   = 4096
	logSize     = "10m" // of each container; a server that logs each request must not fill the disk
)

// Start implements stacks.Runtime.
//
// Calls that make something are not cut short by ctx: an object whose making
// was interrupted may exist without our knowing its id. ctx is looked at
// between them.
func (r *Runtime) Start(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
	direct, err := r.local(ctx)
	if err != nil {
		return nil, err
	}
	st := &stack{runtime: r, spec: spec, id: randomID(), direct: direct && !r.Publish, local: direct}
	for range spec.Services {
		st.services = append(st.services, service{})
	}
	if err := st.start(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
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
	if err := st.createNetwork(ctx); err != nil {
		return err
	}
	var group errgroup.Group
	for i, s := range st.spec.Services {
		group.Go(func() error {
			if err := st.create(ctx, i, s); err != nil {
				return fmt.Errorf("service %s: %w", s.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	// In order: nginx resolves its upstream's name once, when it starts.
	for i, s := range st.spec.Services {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := st.startService(ctx, i); err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
	}
	return nil
}

// labels are on every object of the stack.
func (st *stack) labels() map[string]string {
	return map[string]string{
		LabelRun:   st.spec.Run,
		LabelStack: st.id,
		LabelOwner: st.runtime.owner.String(),
	}
}

func (st *stack) createNetwork(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	made, err := st.runtime.api.NetworkCreate(ctx, st.name("net"), network.CreateOptions{
		Driver: "bridge",
		Labels: st.labels(),
	})
	if err != nil {
		return fmt.Errorf("private network: %w%s", err, networkHint(err))
	}
	st.network = made.ID
	return nil
}

// networkHint says what to do when the engine has no address range left.
func networkHint(err error) string {
	if strings.Contains(err.Error(), "non-overlapping") || strings.Contains(err.Error(), "fully subnetted") {
		return "; the engine's address pools are used up by other networks: see docker network ls, remove what nobody needs (stackmeter clean removes stackmeter's own leftovers), or give the engine larger default-address-pools"
	}
	return ""
}

// name is a container's or network's name: readable in docker ps, and never
// the same twice.
func (st *stack) name(part string) string {
	return "stackmeter-" + st.id + "-" + part
}

func (st *stack) create(ctx context.Context, i int, s stacks.Service) error {
	imageID, err := st.runtime.image(ctx, s, func(string) {})
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()

	labels := st.labels()
	labels[LabelService] = s.Name
	config := &container.Config{
		Image:  imageID,
		Cmd:    s.Argv("0.0.0.0", s.Port),
		Env:    environment(s.Env),
		Labels: labels,
	}
	if len(s.Command) > 0 {
		// The scenario's argv is the whole command: an entry point of the
		// image's in front of it would run something else.
		config.Entrypoint = []string{}
	}
	init := true
	pids := int64(pidsLimit)
	host := &container.HostConfig{
		NetworkMode: container.NetworkMode(st.network),
		Init:        &init,
		CapDrop:     []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges"},
		LogConfig:   container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": logSize, "max-file": "1"}},
		Resources: container.Resources{
			NanoCPUs:   int64(s.CPUs * 1e9),
			Memory:     s.Memory,
			MemorySwap: s.Memory, // no swap on top of the limit
			PidsLimit:  &pids,
		},
	}
	if len(s.GPUs) > 0 {
		host.DeviceRequests = []container.DeviceRequest{{
			Driver: "nvidia", DeviceIDs: s.GPUs, Capabilities: [][]string{{"gpu"}},
		}}
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
	if err != nil {
		return fmt.Errorf("create the container: %w", err)
	}
	st.services[i].container = made.ID
	if s.Proxy != nil {
		return st.configureNginx(ctx, made.ID, s)
	}
	return nil
}

// environment is a map as the engine wants it, in a fixed order.
func environment(env map[string]string) []string {
	var list []string
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

func (st *stack) configureNginx(ctx context.Context, id string, s stacks.Service) error {
	upstream := slices.IndexFunc(st.spec.Services, func(o stacks.Service) bool { return o.Name == s.Proxy.Upstream })
	if upstream < 0 {
		return fmt.Errorf("it stands in front of a service %q that the stack does not have", s.Proxy.Upstream)
	}
	config, err := images.NginxConfig(images.NginxOptions{
		Listen:   net.JoinHostPort("0.0.0.0", strconv.Itoa(s.Port)),
		Upstream: net.JoinHostPort(s.Proxy.Upstream, strconv.Itoa(st.spec.Services[upstream].Port)),
		Timeout:  s.Proxy.Timeout,
	})
	if err != nil {
		return err
	}
	var body bytes.Buffer
	tw := tar.NewWriter(&body)
	// Writing to a buffer cannot fail.
	_ = tw.WriteHeader(&tar.Header{Name: "nginx.conf", Mode: 0o644, Size: int64(len(config)), ModTime: time.Unix(0, 0)})
	_, _ = tw.Write([]byte(config))
	_ = tw.Close()
	if err := st.runtime.api.CopyToContainer(ctx, id, "/etc/nginx", &body, container.CopyToContainerOptions{}); err != nil {
		return fmt.Errorf("write %s: %w", nginxConfig, err)
	}
	return nil
}

func (st *stack) startService(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	one := &st.services[i]
	if err := st.runtime.api.ContainerStart(ctx, one.container, container.StartOptions{}); err != nil {
		return startError(err)
	}
	found, err := st.runtime.api.ContainerInspect(ctx, one.container)
	if err != nil {
		return fmt.Errorf("inspect the container: %w", err)
	}
	one.image = found.Image
	one.pid = found.State.Pid
	if i == len(st.services)-1 {
		return st.locate(found)
	}
	return nil
}

// locate finds where the client connects.
func (st *stack) locate(entry container.InspectResponse) error {
	port := strconv.Itoa(st.spec.Entry().Port)
	if st.direct {
		for _, n := range entry.NetworkSettings.Networks {
			if n.IPAddress != "" {
				st.url = "http://" + net.JoinHostPort(n.IPAddress, port)
				return nil
			}
		}
		return st.ended(entry, "it has no address in its network")
	}
	for _, b := range entry.NetworkSettings.Ports[nat.Port(port+"/tcp")] {
		st.url = "http://" + net.JoinHostPort("127.0.0.1", b.HostPort)
		return nil
	}
	return st.ended(entry, "its port was not published")
}

// ended explains an entry that has no address: most often it has ended
// already.
func (st *stack) ended(c container.InspectResponse, otherwise string) error {
	if !c.State.Running {
		return ending(c.State, st.spec.Entry())
	}
	return fmt.Errorf("the container runs, but %s", otherwise)
}

// startError adds the remedy to what the engine says of a start that failed.
func startError(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "could not select device driver"):
		return fmt.Errorf("the engine has no GPU support: %w; install the NVIDIA Container Toolkit and restart the engine, or set resources.gpu.mode to off", err)
	case strings.Contains(text, "executable file not found"), strings.Contains(text, "no such file or directory"):
		return fmt.Errorf("the command is not in the image: %w; check the topology's command against the image", err)
	}
	return fmt.Errorf("start the container: %w", err)
}
