// Package docker runs stacks as containers through the Docker engine's API.
//
// Labels are the only state: every network and container carries the run, the
// stack and the process that owns it, so that teardown and sweeping work from
// what the engine itself says, after a crash too. Nothing has a fixed name or
// port.
package docker

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"stackmeter/stacks"
)

// Labels on every network and container.
const (
	LabelRun     = "stackmeter.run"     // run id
	LabelStack   = "stackmeter.stack"   // one start of one stack
	LabelOwner   = "stackmeter.owner"   // stacks.Owner
	labelService = "stackmeter.service" // service name
)

// Runtime is stacks.Runtime over the Docker engine. New makes one.
type Runtime struct {
	stacks.Machine

	// Publish makes stacks publish their port on 127.0.0.1 even where their
	// own address can be reached.
	Publish bool

	Limits Limits // of the engine's answers

	api     *client.Client
	waiting *waiting
	owner   stacks.Owner

	making sync.RWMutex // held for reading while the engine makes an object of a run: see creating

	mu       sync.Mutex
	images   map[string]string                  // by imageKey: the image id that Prepare found or made
	requests map[string]container.DeviceRequest // by gpuKey: how its GPUs reach a container, proven by Prepare
	podman   bool                               // the engine is Podman, as the last Check found
	info     *system.Info                       // of the last Check
}

// New connects to the engine that DOCKER_HOST and its companions name, or to
// the local one. It does not talk to it yet: Check does.
func New() (*Runtime, error) {
	api, waiting, err := connect()
	if err != nil {
		return nil, fmt.Errorf("docker: %w; check DOCKER_HOST", err)
	}
	owner, err := stacks.Self()
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &Runtime{api: api, waiting: waiting, owner: owner, images: map[string]string{}, requests: map[string]container.DeviceRequest{}}, nil
}

// Close drops the connections to the engine.
func (r *Runtime) Close() error { return r.api.Close() }

// Check implements stacks.Runtime: the engine is on this machine, answers and
// can run Linux containers.
func (r *Runtime) Check(ctx context.Context) error {
	if host := r.api.DaemonHost(); !reachesHere(host) {
		return fmt.Errorf("docker: the engine at %s is on another machine, whose stacks the client here cannot reach: their ports are published on that machine's own 127.0.0.1; run stackmeter there, or unset DOCKER_HOST to use the engine here", host)
	}
	info, err := r.Info(ctx)
	if err != nil {
		return err
	}
	if info.OSType != "linux" {
		return fmt.Errorf("docker: the engine runs %s containers; stackmeter needs Linux ones", info.OSType)
	}
	podman, err := r.isPodman(ctx, info)
	if err != nil {
		return err
	}
	if info.InitBinary == "" && !podman {
		return fmt.Errorf("docker: the engine has no init binary (docker-init), without which a Python server ignores SIGTERM; install tini or docker-init")
	}
	return nil
}

// isPodman asks whether the engine is Podman behind Docker's API, and keeps the
// answer. Podman has an init binary of its own (catatonit) and does not name it.
func (r *Runtime) isPodman(ctx context.Context, info system.Info) (bool, error) {
	podman := false
	if info.InitBinary == "" {
		ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
		defer cancel()
		version, err := r.api.ServerVersion(ctx)
		if err != nil {
			return false, engineError(err, r.api.DaemonHost())
		}
		podman = podmanVersion(version) != ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.podman = podman
	return podman, nil
}

// Info asks the engine about itself.
func (r *Runtime) Info(ctx context.Context) (system.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	info, err := r.api.Info(ctx)
	if err != nil {
		return system.Info{}, engineError(err, r.api.DaemonHost())
	}
	r.mu.Lock()
	r.info = &info
	r.mu.Unlock()
	return info, nil
}

// Describe names the engine and its version, for the record of a run.
func (r *Runtime) Describe(ctx context.Context) string {
	info, err := r.Info(ctx)
	if err != nil {
		return "an engine that does not answer"
	}
	return fmt.Sprintf("%s (API %s, %s, cgroup v%s)", info.ServerVersion,
		r.api.ClientVersion(), info.Driver, cmp.Or(info.CgroupVersion, "1"))
}

// Local reports whether the stacks run on this machine, so that they share its
// cores with everything else here.
func (r *Runtime) Local(ctx context.Context) (bool, error) { return r.local(ctx) }

// local reports whether the engine's containers run under this kernel, so
// that their addresses and control groups can be reached from here.
func (r *Runtime) local(ctx context.Context) (bool, error) {
	r.mu.Lock()
	info := r.info
	r.mu.Unlock()
	if info == nil {
		fresh, err := r.Info(ctx)
		if err != nil {
			return false, err
		}
		info = &fresh
	}
	return runtime.GOOS == "linux" && isUnix(r.api.DaemonHost()) &&
		!strings.Contains(info.OperatingSystem, "Docker Desktop") && !rootless(*info), nil
}

func isUnix(host string) bool {
	u, err := url.Parse(host)
	return err == nil && u.Scheme == "unix"
}

// reachesHere says whether an engine's address is a local socket or of this
// machine's loopback interface, so that 127.0.0.1 is the same there and here.
func reachesHere(host string) bool {
	u, err := url.Parse(host)
	if err != nil {
		return false
	}
	name := u.Hostname()
	return u.Scheme == "unix" || u.Scheme == "npipe" || u.Scheme != "ssh" &&
		(name == "" || name == "localhost" || net.ParseIP(name).IsLoopback())
}

func rootless(info system.Info) bool {
	for _, option := range info.SecurityOptions {
		if strings.Contains(option, "name=rootless") {
			return true
		}
	}
	return false
}

// engineError says what to do about an engine that does not answer.
func engineError(err error, host string) error {
	err = lost(err)
	switch {
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("docker: no engine answers at %s: %w; start it (service docker start), install it (stacks/images/prepare does, as root), or set DOCKER_HOST", host, err)
	case strings.Contains(err.Error(), "permission denied"):
		return fmt.Errorf("docker: %w; join the group docker (usermod -aG docker $USER, then log in again) or run as root", err)
	}
	return fmt.Errorf("docker: the engine at %s: %w", host, err)
}
