package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"stackmeter/stacks"
)

// Sweep implements stacks.Runtime.
func (r *Runtime) Sweep(ctx context.Context, run string) (removed []string, err error) {
	defer func() { err = lost(err) }()
	if run != "" {
		stacks.Settle(ctx, &r.making, settleTimeout)
		return r.remove(ctx, filters.NewArgs(filters.Arg("label", LabelRun+"="+run)), 0)
	}
	removed, failed := r.sweepContexts()
	dead, err := r.deadStacks(ctx)
	if err != nil {
		return removed, errors.Join(failed, err)
	}
	for _, id := range dead {
		names, err := r.remove(ctx, filters.NewArgs(filters.Arg("label", LabelStack+"="+id)), 0)
		removed = append(removed, names...)
		failed = errors.Join(failed, err)
	}
	return removed, failed
}

// Leftovers names what Sweep would remove of runs that are dead, and removes nothing.
func (r *Runtime) Leftovers(ctx context.Context) (names []string, err error) {
	dead, err := r.deadStacks(ctx)
	for _, id := range dead {
		all, failed := r.list(ctx, filters.NewArgs(filters.Arg("label", LabelStack+"="+id)))
		err = errors.Join(err, failed)
		names = append(names, all.names()...)
	}
	slices.Sort(names)
	return names, lost(err)
}

// settleTimeout bounds the wait for an engine that is slow to make things. What
// it makes later, the next start finds.
const settleTimeout = 4 * time.Second

// deadStacks lists the stacks whose owner is gone.
func (r *Runtime) deadStacks(ctx context.Context) ([]string, error) {
	all, err := r.list(ctx, filters.NewArgs(filters.Arg("label", LabelRun)))
	if err != nil {
		return nil, err
	}
	var dead []string
	look := func(labels map[string]string) {
		owner, err := stacks.ParseOwner(labels[LabelOwner])
		id := labels[LabelStack]
		if err == nil && id != "" && owner.Gone(r.owner) && !slices.Contains(dead, id) {
			dead = append(dead, id)
		}
	}
	for _, c := range all.containers {
		look(c.Labels)
	}
	for _, n := range all.networks {
		look(n.Labels)
	}
	for _, v := range all.volumes {
		look(v.Labels)
	}
	return dead, nil
}

// objects are what the engine has of stacks.
type objects struct {
	containers []container.Summary
	networks   []network.Inspect
	volumes    []*volume.Volume
}

func (r *Runtime) list(ctx context.Context, filter filters.Args) (all objects, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	if all.containers, err = r.api.ContainerList(ctx, container.ListOptions{All: true, Filters: filter}); err != nil {
		return objects{}, fmt.Errorf("list containers: %w", lost(err))
	}
	if all.networks, err = r.api.NetworkList(ctx, network.ListOptions{Filters: filter}); err != nil {
		return objects{}, fmt.Errorf("list networks: %w", lost(err))
	}
	volumes, err := r.api.VolumeList(ctx, volume.ListOptions{Filters: filter})
	if err != nil {
		return objects{}, fmt.Errorf("list volumes: %w", lost(err))
	}
	all.volumes = volumes.Volumes
	return all, nil
}

// removeRounds bounds how often remove looks again.
const removeRounds = 5

// remove removes the containers, networks and volumes that carry a label and returns
// their names. Each container has the given grace between SIGTERM and
// SIGKILL. It looks again afterwards: an engine's "removed" is no proof, and an
// engine that was still making something for a killed process may have finished
// it by then.
func (r *Runtime) remove(ctx context.Context, filter filters.Args, grace time.Duration) (removed []string, err error) {
	var failed error // of the last round
	seen := map[string]bool{}
	for round := 1; ; round++ {
		all, err := r.list(ctx, filter)
		if err != nil {
			return removed, errors.Join(failed, err)
		}
		ids := all.ids()
		if len(ids) == 0 {
			return removed, nil // earlier errors do not matter
		}
		before := len(seen)
		for _, id := range ids {
			seen[id] = true
		}
		if len(seen) == before || round > removeRounds {
			return removed, errors.Join(failed, all.stillThere())
		}
		var names []string
		names, failed = r.removeAll(ctx, all, grace)
		removed = append(removed, names...)
		slices.Sort(removed)
	}
}

// names say what each object is, and what it is called.
func (o objects) names() (names []string) {
	for _, c := range o.containers {
		names = append(names, "container "+containerName(c))
	}
	for _, n := range o.networks {
		names = append(names, "network "+n.Name)
	}
	for _, v := range o.volumes {
		names = append(names, "volume "+v.Name)
	}
	return names
}

// ids are those of all objects. A volume has none but its name.
func (o objects) ids() (ids []string) {
	for _, c := range o.containers {
		ids = append(ids, c.ID)
	}
	for _, n := range o.networks {
		ids = append(ids, n.ID)
	}
	for _, v := range o.volumes {
		ids = append(ids, v.Name)
	}
	return ids
}

// stillThere names what a removal has not removed.
func (o objects) stillThere() (failed error) {
	for _, c := range o.containers {
		failed = errors.Join(failed, fmt.Errorf("container %s is still there; remove it with docker rm -f %.12s", containerName(c), c.ID))
	}
	for _, n := range o.networks {
		failed = errors.Join(failed, fmt.Errorf("network %s is still there; remove it with docker network rm %s", n.Name, n.Name))
	}
	for _, v := range o.volumes {
		failed = errors.Join(failed, fmt.Errorf("volume %s is still there; remove it with docker volume rm %s", v.Name, v.Name))
	}
	return failed
}

// removeAll removes containers and networks at the same time, because both take
// equally long, and then volumes, which no container has any more.
func (r *Runtime) removeAll(ctx context.Context, o objects, grace time.Duration) (removed []string, failed error) {
	var mu sync.Mutex
	note := func(name string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, lost(err)))
		} else {
			removed = append(removed, name)
		}
	}
	var all sync.WaitGroup
	for _, c := range o.containers {
		all.Go(func() {
			r.end(ctx, c, grace)
			note("container "+containerName(c), r.removeContainer(ctx, c))
		})
	}
	for _, n := range o.networks {
		all.Go(func() { note("network "+n.Name, r.removeNetwork(ctx, n.ID, o.containers)) })
	}
	all.Wait()
	for _, v := range o.volumes {
		note("volume "+v.Name, r.removeVolume(ctx, v.Name))
	}
	return removed, failed
}

func (r *Runtime) removeVolume(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	if err := r.api.VolumeRemove(ctx, name, false); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

func containerName(c container.Summary) string {
	if len(c.Names) > 0 {
		return strings.TrimPrefix(c.Names[0], "/")
	}
	return fmt.Sprintf("%.12s", c.ID)
}

func (r *Runtime) removeContainer(ctx context.Context, c container.Summary) error {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.start())
	defer cancel()
	err := r.api.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	if errdefs.IsConflict(err) { // "removal of container … is already in progress"
		return r.gone(ctx, c.ID)
	}
	return err
}

// end ends a container: SIGTERM, the grace, SIGKILL. It ignores errors, because the
// removal kills the container too.
func (r *Runtime) end(ctx context.Context, c container.Summary, grace time.Duration) {
	if c.State != container.StateRunning {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, grace+r.Limits.call())
	defer cancel()
	ended := r.ended(ctx, c.ID)
	if grace > 0 && r.api.ContainerKill(ctx, c.ID, "SIGTERM") == nil {
		select {
		case <-ended:
			return
		case <-time.After(grace):
		}
	}
	if r.api.ContainerKill(ctx, c.ID, "SIGKILL") == nil {
		<-ended
	}
}

// A containerEnd is the exit status of a container, or the error that hides it.
type containerEnd struct {
	status int64
	err    error
}

// ended reports a container's end, or that ctx ended first. The channel may be left
// unread, unlike those of the client, which keep a goroutine until somebody reads.
func (r *Runtime) ended(ctx context.Context, id string) <-chan containerEnd {
	told := make(chan containerEnd, 1)
	ended, failed := r.api.ContainerWait(ctx, id, container.WaitConditionNotRunning)
	go func() {
		select {
		case end := <-ended:
			one := containerEnd{status: end.StatusCode}
			if end.Error != nil {
				one.err = errors.New(end.Error.Message)
			}
			told <- one
		case err := <-failed:
			told <- containerEnd{err: err}
		}
	}()
	return told
}

// gone waits until a container is gone that someone else is removing.
func (r *Runtime) gone(ctx context.Context, id string) error {
	for {
		_, err := r.api.ContainerInspect(ctx, id)
		if errdefs.IsNotFound(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// removeNetwork disconnects a network from its containers and removes it. A
// container that is just ending may stay connected for a moment.
func (r *Runtime) removeNetwork(ctx context.Context, id string, containers []container.Summary) error {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	var taking sync.WaitGroup
	for _, c := range containers {
		// The engine says of an ended container that it is not connected.
		taking.Go(func() { _ = r.api.NetworkDisconnect(ctx, id, c.ID, true) })
	}
	taking.Wait()
	var err error
	for range 100 {
		err = r.api.NetworkRemove(ctx, id)
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
	return err
}
