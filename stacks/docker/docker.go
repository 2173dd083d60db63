// Package docker runs stacks as containers through the Docker engine's API.
//
// Labels are the only state. Every network and container carries the run, the
// stack and the process that owns it. Teardown and sweeping ask the engine what
// there is, which also works after a crash. Nothing has a fixed name or port.
package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"stackmeter/scenarios/show"
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

	making sync.RWMutex // read-locked while the engine makes an object of a run: see creating

	images   sync.Map                    // by imageKey: the id of the image that Prepare found or made
	requests sync.Map                    // by gpuKey: the container.DeviceRequest that was proven to work
	podman   atomic.Bool                 // the engine is Podman, as the last Check found
	info     atomic.Pointer[system.Info] // the engine's last answer
}

// New connects to the engine that DOCKER_HOST and its companions name, or to
// the local one. It does not talk to the engine yet; Check does.
func New() (*Runtime, error) {
	if len(show.Credentials(os.Getenv(client.EnvOverrideHost))) > 0 { // which every message about the engine would show
		return nil, errors.New("docker: DOCKER_HOST has a name or password in it, which no engine on this machine takes; leave them out, or run stackmeter on the engine's machine")
	}
	api, waiting, err := connect()
	if err != nil {
		return nil, fmt.Errorf("docker: %w; check DOCKER_HOST", err)
	}
	owner, err := stacks.Self()
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	return &Runtime{api: api, waiting: waiting, owner: owner}, nil
}

// Close drops the connections to the engine.
func (r *Runtime) Close() error { return r.api.Close() }

// Check implements stacks.Runtime. The engine has to be on this machine, to
// answer and to run Linux containers.
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
	podman := false
	if info.InitBinary == "" {
		// Podman has an init binary of its own (catatonit) and does not name it.
		version, err := r.version(ctx)
		if err != nil {
			return err
		}
		podman = podmanVersion(version) != ""
	}
	r.podman.Store(podman)
	if info.InitBinary == "" && !podman {
		return fmt.Errorf("docker: the engine has no init binary (docker-init), without which a Python server ignores SIGTERM; install tini or docker-init")
	}
	return nil
}

func (r *Runtime) version(ctx context.Context) (types.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	version, err := r.api.ServerVersion(ctx)
	if err != nil {
		err = engineError(err, r.api.DaemonHost())
	}
	return version, err
}

// Info asks the engine about itself.
func (r *Runtime) Info(ctx context.Context) (system.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	info, err := r.api.Info(ctx)
	if err != nil {
		return system.Info{}, engineError(err, r.api.DaemonHost())
	}
	r.info.Store(&info)
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

// Root is the folder in which the engine keeps its images and containers.
func (r *Runtime) Root(ctx context.Context) (string, error) {
	info, err := r.Info(ctx)
	return info.DockerRootDir, err
}

// Local reports whether the containers run under this kernel. They then share
// this machine's cores, and their addresses and control groups can be reached.
func (r *Runtime) Local(ctx context.Context) (bool, error) {
	info := r.info.Load()
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

// reachesHere reports whether an engine's address is a local socket or on the
// loopback interface: 127.0.0.1 is then the same there and here.
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
	return slices.ContainsFunc(info.SecurityOptions, func(option string) bool { return strings.Contains(option, "name=rootless") })
}

// engineError adds to an error what to do about an engine that does not answer.
func engineError(err error, host string) error {
	err = lost(err)
	switch {
	case strings.Contains(err.Error(), "permission denied"): // a connection that failed too
		return fmt.Errorf("docker: %w; join the group docker (usermod -aG docker $USER, then log in again) or run as root", err)
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("docker: no engine answers at %s: %w; start it (service docker start), install it (stacks/images/prepare does, as root), or set DOCKER_HOST", host, err)
	}
	return fmt.Errorf("docker: the engine at %s: %w", host, err)
}
