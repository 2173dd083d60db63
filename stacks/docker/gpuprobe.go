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

// probeTimeout bounds the whole of a probe. Without persistence mode the
// driver initialises a GPU at the first access, which takes seconds for each.
const probeTimeout = 2 * time.Minute

// proveGPU finds out whether containers of the service's image really get its
// GPUs, before anything is measured: by one that asks for them as a stack
// would, lists them and is removed. The toolkit decides by the image too (the
// CUDA version that it needs), so that each image is tried once. The error
// wraps stacks.ErrNoGPU.
func (r *Runtime) proveGPU(ctx context.Context, spec stacks.Spec, s stacks.Service, imageID string, progress func(string)) error {
	key := gpuKey(s)
	r.mu.Lock()
	_, done := r.requests[key]
	r.mu.Unlock()
	if done {
		return nil
	}
	o, err := r.offer(ctx)
	if err != nil {
		return err
	}
	ways, err := o.gpuRequests(s.GPUs)
	if err != nil {
		return fmt.Errorf("%w: %w", stacks.ErrNoGPU, err)
	}
	progress("try whether a container gets " + strings.Join(s.GPUs, ", "))
	var failed error
	for _, way := range ways {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		refusal, err := r.probeGPU(ctx, spec, s, imageID, way)
		if err != nil {
			return err
		}
		if refusal == nil {
			r.mu.Lock()
			r.requests[key] = way
			r.mu.Unlock()
			return nil
		}
		failed = errors.Join(failed, fmt.Errorf("by the driver %s: %w", way.Driver, refusal))
	}
	return fmt.Errorf("%w: %w", stacks.ErrNoGPU, failed)
}

// probeGPU runs one container and removes it. refusal says why that one did
// not get the GPUs; err, that it could not be removed, as when the engine does
// not answer any more, which proves nothing about GPUs.
func (r *Runtime) probeGPU(ctx context.Context, spec stacks.Spec, s stacks.Service, imageID string, way container.DeviceRequest) (refusal, err error) {
	st := &stack{runtime: r, spec: spec, id: randomID()}
	refusal = st.listGPUs(ctx, s, imageID, way)
	if _, err := r.remove(context.WithoutCancel(ctx), filters.NewArgs(filters.Arg("label", LabelStack+"="+st.id)), 0); err != nil {
		return refusal, errors.Join(refusal, err)
	}
	if ctx.Err() != nil {
		return refusal, context.Cause(ctx)
	}
	return refusal, nil
}

// listGPUs compares what a container lists with what it was to get. As in a
// stack, ctx cuts short the waiting but not the calls that make something.
func (st *stack) listGPUs(ctx context.Context, s stacks.Service, imageID string, way container.DeviceRequest) error {
	r := st.runtime
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	making, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.runtime.Limits.start())
	defer cancel()
	labels := st.labels()
	labels[labelService] = s.Name
	config := &container.Config{
		Image: imageID, Entrypoint: []string{}, Cmd: stacks.ListGPUs(), Env: environment(s.Env), Labels: labels,
	}
	host := hostConfig(s)
	host.NetworkMode = "none"
	host.DeviceRequests = []container.DeviceRequest{way}
	done, err := r.creating(ctx)
	if err != nil {
		return err
	}
	made, err := r.api.ContainerCreate(making, config, host, nil, nil, st.name("gpu"))
	done()
	if err != nil {
		return fmt.Errorf("create a container with the GPU: %w", err)
	}
	// The init process starts whether or not the image has nvidia-smi: what
	// fails here is the engine's or the toolkit's.
	if err := r.api.ContainerStart(making, made.ID, container.StartOptions{}); err != nil {
		return startError(err)
	}
	status, listing, err := r.result(ctx, made.ID)
	switch {
	case err != nil:
		return err
	case status == exitNotFound:
		return nil // no tools in this image; a started stack is looked at by its device nodes
	case status != 0:
		return stacks.ExplainNVML(fmt.Errorf("nvidia-smi exited with status %d: %s", status, strings.TrimSpace(listing)))
	}
	return stacks.CompareGPUs(listing, s.GPUs)
}

// result waits for a container's end.
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
