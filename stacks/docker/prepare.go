package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"stackmeter/stacks"
	"stackmeter/stacks/images"
)

// BaseImage is what stackmeter's own images are made from.
const BaseImage = "debian:trixie-slim"

// labelBuilt is on every image that stackmeter built.
const labelBuilt = "stackmeter.built"

// Prepare implements stacks.Runtime. It finds, pulls or builds the images,
// refuses limits that this machine cannot give, and proves with a container of
// each image that it gets the GPUs it asks for.
func (r *Runtime) Prepare(ctx context.Context, spec stacks.Spec, progress func(string)) (err error) {
	defer func() { err = lost(err) }()
	if spec, err = r.Give(spec); err != nil {
		return err
	}
	info, err := r.Info(ctx)
	if err != nil {
		return err
	}
	version, err := r.version(ctx)
	if err != nil {
		return err
	}
	for _, s := range spec.Services {
		if s.CPUs > float64(info.NCPU) {
			return fmt.Errorf("%w: resources.cpus is %v and the engine has %d; ask for less, or for none to set no limit", stacks.ErrUnavailable, s.CPUs, info.NCPU)
		}
		for _, core := range s.Cores {
			if core >= info.NCPU {
				return fmt.Errorf("%w: resources.cpuset has core %d, and those of the engine are 0 to %d", stacks.ErrUnavailable, core, info.NCPU-1)
			}
		}
		if s.Memory > info.MemTotal {
			return fmt.Errorf("%w: resources.memory is %d bytes and the engine has %d", stacks.ErrUnavailable, s.Memory, info.MemTotal)
		}
		if memory := s.Container.InMemory(); memory > info.MemTotal {
			return fmt.Errorf("%w: shm_size and tmpfs of service %s are %d bytes together and the engine has %d", stacks.ErrUnavailable, s.Name, memory, info.MemTotal)
		}
		for _, m := range s.Container.Mounts {
			if err := r.mountable(m.From); err != nil {
				return fmt.Errorf("%w: mount of %s: %w", stacks.ErrUnavailable, m.From, err)
			}
		}
		if s.MPS != nil {
			if err := r.checkMPS(ctx); err != nil {
				return fmt.Errorf("%w: %w", stacks.ErrUnavailable, err)
			}
		}
		id, err := r.image(ctx, s, progress)
		if err == nil {
			err = r.runsHere(ctx, s, id, version.Arch)
		}
		if err == nil && len(s.GPUs) > 0 {
			_, err = r.proveGPU(ctx, spec, s, id, progress)
		}
		if err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
	}
	return nil
}

// mountable fails for what no container gets: what an engine is reached by. It could do
// anything to the machine with that. An engine behind a TCP address may have other
// folders of the same names.
func (r *Runtime) mountable(from string) error {
	u, err := url.Parse(r.api.DaemonHost())
	if err != nil || u.Scheme != "unix" {
		return fmt.Errorf("the engine at %s may not see this machine's folders; reach it by a unix socket", r.api.DaemonHost())
	}
	for _, socket := range []string{u.Path, "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"} {
		if real, err := filepath.EvalSymlinks(socket); err == nil {
			socket = real
		}
		if name, err := filepath.Rel(from, socket); err == nil && filepath.IsLocal(name) {
			return fmt.Errorf("an engine's socket is, or may be, in it: %s", socket)
		}
	}
	return nil
}

// runsHere fails for an image whose programs are for another processor than the
// engine's. Emulated, if that is set up, they would run many times slower.
func (r *Runtime) runsHere(ctx context.Context, s stacks.Service, id, arch string) error {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	found, err := r.api.ImageInspect(ctx, id)
	if err != nil {
		return err
	}
	if runs(found.Architecture, arch) {
		return nil
	}
	what, remedy := "the image "+s.Image, fmt.Sprintf("pull or build it for this machine: docker pull --platform linux/%s %s", arch, s.Image)
	if s.Image == "" {
		what, remedy = "the image that was built", "look for --platform in the Dockerfile's FROM, and for the platform of its base image"
	}
	return fmt.Errorf("%s is for %s/%s%s, and the engine's processor is %s, which cannot run it or would emulate it; %s", what, found.Os, found.Architecture, found.Variant, arch, remedy)
}

// runs reports whether a processor runs programs for an architecture, which may be
// unknown.
func runs(program, processor string) bool {
	switch program + " on " + processor {
	case " on " + processor, processor + " on " + processor, "386 on amd64", "arm on arm64":
		return true
	}
	return false
}

// Digest implements stacks.Runtime.
func (r *Runtime) Digest(s stacks.Service) string {
	id, _ := r.images.Load(imageKey(s))
	text, _ := id.(string)
	return text
}

// imageKey identifies what a service's image is made from.
func imageKey(s stacks.Service) string {
	switch {
	case s.Image != "":
		return s.Image
	case s.Build != nil:
		key, _ := json.Marshal(s.Build)
		return string(key)
	case s.Proxy != nil:
		return s.Proxy.Software
	}
	return s.Role
}

// image returns the id of the service's image. The first call finds, pulls or
// builds it.
func (r *Runtime) image(ctx context.Context, s stacks.Service, progress func(string)) (string, error) {
	return r.once(imageKey(s), func() (string, error) {
		switch {
		case s.Image != "":
			return r.find(ctx, s.Image, progress)
		case s.Build != nil:
			return r.buildFolder(ctx, *s.Build, progress)
		case s.Proxy != nil:
			return r.buildOwn(ctx, s.Proxy.Software, images.Proxy(s.Proxy.Software), "", progress)
		case s.Dir != "":
			return "", errors.New("app.dir alone is for local processes: add image or build to app, or run with --runtime process")
		}
		return "", errors.New("it has neither an image nor a build context")
	})
}

// once returns the id of the image with this key. The first call gets it.
func (r *Runtime) once(key string, get func() (string, error)) (string, error) {
	if id, ok := r.images.Load(key); ok {
		return id.(string), nil
	}
	id, err := get()
	if err == nil {
		r.images.Store(key, id)
	}
	return id, err
}

// find looks for an image in the engine and pulls it when it is not there.
func (r *Runtime) find(ctx context.Context, ref string, progress func(string)) (string, error) {
	id, err := r.inspectImage(ctx, ref)
	if err == nil || !errdefs.IsNotFound(err) {
		return id, err
	}
	progress("pull " + ref)
	pulling, heard, stop := whileHeard(ctx, r.Limits.pull())
	defer stop()
	body, err := r.api.ImagePull(pulling, ref, image.PullOptions{})
	if err == nil {
		_, err = follow(body, heard, func(string) {})
	}
	if err != nil {
		return "", fmt.Errorf("image %s is not in the engine and cannot be pulled: %w; build it, or pull it where you are logged in (docker pull %s), or correct its name in the scenario", ref, err, ref)
	}
	return r.inspectImage(ctx, ref)
}

func (r *Runtime) inspectImage(ctx context.Context, ref string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	found, err := r.api.ImageInspect(ctx, ref)
	if err != nil {
		return "", err
	}
	return found.ID, nil
}

// Declared is what the image of a service says of itself, which Prepare has found or made.
func (r *Runtime) Declared(ctx context.Context, s stacks.Service) (d stacks.Declared, err error) {
	id, err := r.image(ctx, s, func(string) {})
	if err != nil {
		return d, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	found, err := r.api.ImageInspect(ctx, id)
	if err != nil || found.Config == nil {
		return d, err
	}
	d.Command, d.Labels, d.Env = slices.Concat(found.Config.Entrypoint, found.Config.Cmd), found.Config.Labels, map[string]string{}
	for _, variable := range found.Config.Env {
		name, value, _ := strings.Cut(variable, "=")
		d.Env[name] = value
	}
	if check := found.Config.Healthcheck; check != nil {
		d.Health = strings.Join(check.Test, " ")
	}
	for port := range found.Config.ExposedPorts {
		if number, protocol, _ := strings.Cut(port, "/"); protocol != "udp" {
			if n, err := strconv.Atoi(number); err == nil {
				d.Ports = append(d.Ports, n)
			}
		}
	}
	slices.Sort(d.Ports)
	return d, nil
}

// Image returns the id of an image, empty if it is not in the engine.
func (r *Runtime) Image(ctx context.Context, ref string) string {
	id, err := r.inspectImage(ctx, ref)
	if err != nil {
		return ""
	}
	return id
}

// Built lists the tags of the images that stackmeter built in this engine.
func (r *Runtime) Built(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	list, err := r.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", labelBuilt))})
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, i := range list {
		for _, tag := range i.RepoTags {
			if strings.HasPrefix(tag, "stackmeter/") {
				tags = append(tags, tag)
			}
		}
	}
	slices.Sort(tags)
	return tags, nil
}
