package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/pkg/stdcopy"

	"stackmeter/stacks"
)

// probeTimeout bounds a whole probe. Without persistence mode the driver
// initialises each GPU at the first access, which takes seconds.
const probeTimeout = 2 * time.Minute

// proveGPU returns the request by which containers of the service's image really
// get its GPUs. It finds out with a container that asks for them as a stack would,
// lists them and is removed. The toolkit decides by the image too (the CUDA version
// that it needs), so each image is tried once. The error wraps stacks.ErrNoGPU.
func (r *Runtime) proveGPU(ctx context.Context, spec stacks.Spec, s stacks.Service, imageID string, progress func(string)) (proven container.DeviceRequest, err error) {
	if known, ok := r.requests.Load(gpuKey(s)); ok {
		return known.(container.DeviceRequest), nil
	}
	o, err := r.offer(ctx)
	if err != nil {
		return proven, err
	}
	ways, err := o.gpuRequests(s.GPUs)
	if err != nil {
		return proven, fmt.Errorf("%w: %w", stacks.ErrNoGPU, err)
	}
	progress("try whether a container gets " + strings.Join(s.GPUs, ", "))
	var failed error
	for _, way := range ways {
		if err := context.Cause(ctx); err != nil {
			return proven, err
		}
		refusal, err := r.probeGPU(ctx, spec, s, imageID, way)
		if err != nil {
			return proven, err
		}
		if refusal == nil {
			r.requests.Store(gpuKey(s), way)
			return way, nil
		}
		failed = errors.Join(failed, fmt.Errorf("by the driver %s: %w", way.Driver, refusal))
	}
	return proven, fmt.Errorf("%w: %w", stacks.ErrNoGPU, failed)
}

// probeGPU runs one container and removes it. refusal says why the container did
// not get the GPUs. err says that it could not be removed, for example because the
// engine no longer answers, which proves nothing about GPUs.
func (r *Runtime) probeGPU(ctx context.Context, spec stacks.Spec, s stacks.Service, imageID string, way container.DeviceRequest) (refusal, err error) {
	st := &stack{runtime: r, spec: spec, id: stacks.RandomID()}
	refusal = st.listGPUs(ctx, s, imageID, way)
	if _, err := r.remove(context.WithoutCancel(ctx), filters.NewArgs(filters.Arg("label", LabelStack+"="+st.id)), 0); err != nil {
		return refusal, errors.Join(refusal, err)
	}
	if ctx.Err() != nil {
		return refusal, context.Cause(ctx)
	}
	return refusal, nil
}

// listGPUs compares what a container lists with what it was given.
func (st *stack) listGPUs(ctx context.Context, s stacks.Service, imageID string, way container.DeviceRequest) error {
	r := st.runtime
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	config := &container.Config{
		Image: imageID, Entrypoint: []string{}, Cmd: stacks.ListGPUs(), Env: stacks.Environ(s.Env), Labels: st.serviceLabels(s),
	}
	host := hostConfig(s)
	host.NetworkMode = "none"
	host.DeviceRequests = []container.DeviceRequest{way}
	making, done, err := r.creating(ctx, r.Limits.start())
	if err != nil {
		return err
	}
	made, err := r.api.ContainerCreate(making, config, host, nil, nil, st.name("gpu"))
	if err != nil {
		done()
		return fmt.Errorf("create a container with the GPU: %w", err)
	}
	// The init process starts even if the image has no nvidia-smi: a failure is
	// the engine's or the toolkit's.
	err = r.api.ContainerStart(making, made.ID, container.StartOptions{})
	done()
	if err != nil {
		return startError(err)
	}
	status, listing, err := r.result(ctx, made.ID)
	switch {
	case err != nil:
		return err
	case status == exitNotFound:
		return nil // the image has no tools: SeenGPUs looks at the device nodes of the stack
	case status != 0:
		return stacks.ExplainNVML(fmt.Errorf("nvidia-smi exited with status %d: %s", status, strings.TrimSpace(listing)))
	}
	return stacks.CompareGPUs(listing, s.GPUs)
}

// result waits until a container has ended and returns its output.
func (r *Runtime) result(ctx context.Context, id string) (status int64, output string, err error) {
	end := <-r.ended(ctx, id)
	if end.err != nil {
		return 0, "", fmt.Errorf("wait for nvidia-smi in a container: %w; see whether nvidia-smi answers on the machine itself", end.err)
	}
	body, err := r.api.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return 0, "", fmt.Errorf("read what nvidia-smi said in a container: %w", err)
	}
	defer body.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, io.LimitReader(body, stacks.LogBytes)); err != nil {
		return 0, "", fmt.Errorf("read what nvidia-smi said in a container: %w", err)
	}
	return end.status, out.String(), nil
}
