package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/pkg/stdcopy"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/images"
)

// clientService is the value of labelService on a load client's container.
const clientService = "load-client"

// clientImage names the image of a load client in Runtime.images.
const clientImage = "python-requests"

// A Client is a load client in a container of its own, in the private network of
// the stack that it loads. It is confined like a service, without resource
// limits. It carries the stack's labels: whatever removes the stack removes it
// too.
type Client struct {
	runtime   *Runtime
	container string
	url       string
	streams   types.HijackedResponse
	stdout    *io.PipeReader
	stderr    show.Tail
	kills     atomic.Int64 // by this process
}

// ClientImage makes the image of RunClient's containers and returns its id. It may
// be called again and then costs little.
func (r *Runtime) ClientImage(ctx context.Context, progress func(string)) (_ string, err error) {
	defer func() { err = lost(err) }()
	return r.once(clientImage, func() (string, error) { return r.buildOwn(ctx, clientImage, images.PythonRequests(), "", progress) })
}

// RunClient starts argv in a container beside the stack of this process with the
// given URL. The container's standard streams are the Client's. On error nothing
// is left behind.
func (r *Runtime) RunClient(ctx context.Context, stackURL string, argv []string) (_ *Client, err error) {
	defer func() { err = lost(err) }()
	id, err := r.ClientImage(ctx, func(string) {})
	if err != nil {
		return nil, err
	}
	entry, err := r.entryAt(ctx, stackURL)
	if err != nil {
		return nil, fmt.Errorf("load client: %w", err)
	}
	c := &Client{runtime: r, url: entry.url}
	ctx, done, err := r.creating(ctx, r.Limits.start())
	if err != nil {
		return nil, fmt.Errorf("load client: %w", err)
	}
	defer done()
	if err := c.start(ctx, id, entry, argv); err != nil {
		return nil, fmt.Errorf("load client: %w", errors.Join(err, c.remove()))
	}
	return c, nil
}

// An entry is where a stack of this process listens, seen from its network.
type entry struct {
	network string
	url     string
	labels  map[string]string
}

// entryAt asks the engine which stack of this process has the URL. A stack that
// publishes its port has another address within its network.
func (r *Runtime) entryAt(ctx context.Context, stackURL string) (entry, error) {
	u, err := url.Parse(stackURL)
	if err != nil {
		return entry{}, err
	}
	port, _ := strconv.Atoi(u.Port())
	all, err := r.list(ctx, filters.NewArgs(filters.Arg("label", LabelOwner+"="+r.owner.String())))
	if err != nil {
		return entry{}, err
	}
	for _, c := range all.containers {
		if c.NetworkSettings == nil {
			continue
		}
		for _, n := range c.NetworkSettings.Networks {
			found := entry{network: n.NetworkID, url: stackURL, labels: c.Labels}
			if n.IPAddress != "" && n.IPAddress == u.Hostname() {
				return found, nil
			}
			for _, p := range c.Ports {
				if int(p.PublicPort) == port && p.IP == u.Hostname() {
					found.url = u.Scheme + "://" + net.JoinHostPort(n.IPAddress, strconv.Itoa(int(p.PrivatePort)))
					return found, nil
				}
			}
		}
	}
	return entry{}, fmt.Errorf("no stack of this process has the address %s; the client in a container only reaches the stacks of the runtime docker", stackURL)
}

func (c *Client) start(ctx context.Context, imageID string, to entry, argv []string) error {
	labels := map[string]string{labelService: clientService}
	for _, name := range []string{LabelRun, LabelStack, LabelOwner} {
		labels[name] = to.labels[name]
	}
	host := hostConfig(stacks.Service{})
	host.NetworkMode = container.NetworkMode(to.network)
	host.ReadonlyRootfs = true
	host.LogConfig = container.LogConfig{Type: "none"} // its output is read as it comes
	api := c.runtime.api
	made, err := api.ContainerCreate(ctx, &container.Config{
		Image: imageID, Entrypoint: []string{}, Cmd: argv, Env: []string{noGPU}, Labels: labels,
		OpenStdin: true, StdinOnce: true, // when this process is gone, its input ends
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}, host, &network.NetworkingConfig{
		EndpointsConfig: map[string]*network.EndpointSettings{to.network: {}},
	}, nil, "stackmeter-"+to.labels[LabelStack]+"-"+clientService+"-"+stacks.RandomID())
	if err != nil {
		return fmt.Errorf("create the container: %w", err)
	}
	c.container = made.ID
	c.streams, err = c.runtime.stream("POST /containers/"+c.container+"/attach", func() (types.HijackedResponse, error) {
		return api.ContainerAttach(ctx, c.container, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	})
	if err != nil {
		return fmt.Errorf("attach to the container: %w", err)
	}
	// The deadline was for attaching. The streams last as long as the container.
	if err := c.streams.Conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("attach to the container: %w", err)
	}
	read, write := io.Pipe()
	c.stdout = read
	go func() {
		_, err := stdcopy.StdCopy(write, &c.stderr, c.streams.Reader)
		write.CloseWithError(err)
	}()
	if err := api.ContainerStart(ctx, c.container, container.StartOptions{}); err != nil {
		return startError(err)
	}
	return nil
}

// URL is the stack's address within its network.
func (c *Client) URL() string { return c.url }

// Write writes to the client's standard input.
func (c *Client) Write(b []byte) (int, error) { return c.streams.Conn.Write(b) }

// CloseWrite ends the client's standard input.
func (c *Client) CloseWrite() error { return c.streams.CloseWrite() }

// Read reads the client's standard output, which ends with the container.
func (c *Client) Read(b []byte) (int, error) { return c.stdout.Read(b) }

// Wait waits until the container has ended and removes it. Its error says how the
// container ended, unless it ended well. Read standard output to its end first.
func (c *Client) Wait() error {
	status, err := c.status()
	if signal := strconv.FormatInt(status-128, 10); err == nil && endsProcess[signal] && c.kills.Load() == 0 {
		err = fmt.Errorf("the load client's container %w: it was ended by signal %s", stacks.ErrDisturbed, signal)
	} else if err == nil && status != 0 {
		err = fmt.Errorf("the load client's container exited with status %d", status)
		if said := c.stderr.String(); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
	}
	return errors.Join(err, c.remove())
}

func (c *Client) status() (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), c.runtime.Limits.call())
	defer cancel()
	end := <-c.runtime.ended(ctx, c.container)
	if end.err != nil {
		return 0, fmt.Errorf("wait for the load client's container: %w", end.err)
	}
	return end.status, nil
}

// Kill ends the client at once. It may be called more than once.
func (c *Client) Kill() {
	ctx, cancel := context.WithTimeout(context.Background(), c.runtime.Limits.call())
	defer cancel()
	// A container that is gone cannot be killed. One that cannot be killed for
	// another reason is named when it is removed.
	c.kills.Add(1)
	if c.runtime.api.ContainerKill(ctx, c.container, "SIGKILL") != nil {
		c.kills.Add(-1)
	}
}

// remove removes the container, if it is there.
func (c *Client) remove() error {
	if c.streams.Conn != nil {
		c.streams.Close()
	}
	if c.container == "" {
		return nil
	}
	if err := c.runtime.removeContainer(context.Background(), container.Summary{ID: c.container}); err != nil {
		return fmt.Errorf("remove the load client's container %.12s: %w", c.container, err)
	}
	return nil
}
