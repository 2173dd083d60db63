package docker

import (
	"context"
	"errors"
	"maps"

	"github.com/docker/docker/api/types/mount"

	"stackmeter/stacks"
)

// mpsFolder is where a container that uses MPS finds the control daemon's pipes.
const mpsFolder = "/tmp/nvidia-mps"

// checkMPS looks for the control daemon where the containers run.
func (r *Runtime) checkMPS(ctx context.Context) error {
	local, err := r.local(ctx)
	switch {
	case err != nil:
		return err
	case !local:
		return errors.New("resources.gpu.mps needs an engine whose containers run on this machine itself: their processes talk to the machine's MPS daemon")
	}
	return stacks.CheckMPS(stacks.MPSPipes())
}

// withMPS is a service's environment with what it needs to use MPS, or not to.
// MPS comes last: an image or a scenario cannot change what is recorded.
func withMPS(s stacks.Service) map[string]string {
	env := maps.Clone(s.Env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, s.MPSEnvironment(mpsFolder))
	return env
}

// mpsMounts are the only folders of the machine that a container ever gets: the
// pipes of the MPS daemon, and the shared memory in which a client talks to its
// server. NVIDIA's device plugin for Kubernetes gives a container the same two
// (https://github.com/NVIDIA/k8s-device-plugin, docs/mps).
func mpsMounts(s stacks.Service) []mount.Mount {
	if s.MPS == nil {
		return nil
	}
	return []mount.Mount{
		{Type: mount.TypeBind, Source: stacks.MPSPipes(), Target: mpsFolder},
		{Type: mount.TypeBind, Source: "/dev/shm", Target: "/dev/shm"},
	}
}
