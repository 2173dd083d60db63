package docker

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/moby/go-archive"
	"github.com/moby/patternmatcher/ignorefile"

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
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
		if s.MPS != nil {
			if err := r.checkMPS(ctx); err != nil {
				return fmt.Errorf("%w: %w", stacks.ErrUnavailable, err)
			}
		}
		id, err := r.image(ctx, s, progress)
		if err == nil && len(s.GPUs) > 0 {
			_, err = r.proveGPU(ctx, spec, s, id, progress)
		}
		if err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
	}
	return nil
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
		case s.Role == stacks.RoleNginx:
			return r.buildOwn(ctx, "nginx", images.Nginx(), progress)
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

// buildFolder builds the scenario's context. Its tag follows from what the
// scenario says, so that the next night finds the engine's layers.
func (r *Runtime) buildFolder(ctx context.Context, b scenarios.Build, progress func(string)) (string, error) {
	exclude, err := ignored(b.Context)
	if err != nil {
		return "", fmt.Errorf("build context %s: %w", b.Context, err)
	}
	dockerfile := b.Dockerfile
	if dockerfile == "" {
		dockerfile = "Dockerfile"
	}
	if len(exclude) > 0 {
		// The builder needs it even if .dockerignore keeps it out of the image.
		exclude = append(exclude, "!"+dockerfile)
	}
	body, err := archive.TarWithOptions(b.Context, &archive.TarOptions{ExcludePatterns: append(exclude, neverSent)})
	if err != nil {
		return "", fmt.Errorf("build context %s: %w", b.Context, err)
	}
	defer body.Close()
	key, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("build context %s: %w", b.Context, err)
	}
	id, err := r.build(ctx, filepath.Base(b.Context), key, body, dockerfile, b.Args, progress)
	if err != nil {
		return "", fmt.Errorf("build context %s: %w", b.Context, err)
	}
	return id, nil
}

// neverSent is left out of every context: git's own folder belongs to the
// operator, and a CI job's checkout may keep a token in it.
const neverSent = "**/.git"

// maxIgnore bounds a .dockerignore, in bytes.
const maxIgnore = 1 << 20

// ignored reads the patterns of a context's .dockerignore, if there is one.
// The context may be a stranger's: a link out of it is not followed, and only a
// regular file is read.
func ignored(dir string) ([]string, error) {
	const name = ".dockerignore"
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w; it has to be a file in the context", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxIgnore+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxIgnore {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxIgnore)
	}
	return ignorefile.ReadAll(bytes.NewReader(text))
}

// buildOwn builds one of stackmeter's own images from a context inside this
// binary.
func (r *Runtime) buildOwn(ctx context.Context, name string, content fs.FS, progress func(string)) (string, error) {
	read, write := io.Pipe()
	defer read.Close()
	go func() {
		tw := tar.NewWriter(write)
		err := tw.AddFS(content)
		if err == nil {
			err = tw.Close()
		}
		write.CloseWithError(err)
	}()
	id, err := r.build(ctx, name, []byte(name), read, "Dockerfile", nil, progress)
	if err != nil {
		return "", fmt.Errorf("stackmeter's %s image: %w", name, err)
	}
	return id, nil
}

// build runs the engine's builder and returns the image's id. If the tag named
// another image before, that one is removed unless it has another name or is in
// use: old images of a nightly run must not fill the disk.
func (r *Runtime) build(ctx context.Context, name string, key []byte, content io.Reader, dockerfile string, args map[string]string, progress func(string)) (string, error) {
	building, heard, stop := whileHeard(ctx, r.Limits.build())
	defer stop()
	tag := fmt.Sprintf("stackmeter/%s:%.6x", tagName(name), sha256.Sum256(key))
	before, _ := r.inspectImage(ctx, tag)

	// A build needs the operator's proxies to reach what this machine reaches.
	// Every builder knows these arguments and keeps them, with their passwords,
	// out of the image's history, unless the Dockerfile declares them itself
	// (ARG http_proxy).
	given := map[string]*string{}
	for _, list := range []map[string]string{stacks.Proxies(), args} {
		for name, value := range list {
			given[name] = &value
		}
	}
	progress("build " + tag)
	resp, err := r.api.ImageBuild(building, content, build.ImageBuildOptions{
		Version:    build.BuilderV1,
		Tags:       []string{tag},
		Dockerfile: dockerfile,
		BuildArgs:  given,
		Labels:     map[string]string{labelBuilt: "1"},
		Remove:     true, ForceRemove: true,
	})
	if err != nil {
		return "", err
	}
	said, err := follow(resp.Body, heard, progress)
	if err != nil {
		return "", fmt.Errorf("%w%s\n%s", err, baseHint(err), strings.Join(said, "\n"))
	}
	id, err := r.inspectImage(ctx, tag)
	if err == nil && before != "" && before != id {
		r.dropImage(ctx, before)
	}
	return id, err
}

// dropImage removes an image that stackmeter built and that has no name any more.
// An image that somebody else has named is theirs. One that a container uses may
// be another run's; the engine refuses to remove it.
func (r *Runtime) dropImage(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, r.Limits.start())
	defer cancel()
	found, err := r.api.ImageInspect(ctx, id)
	if err != nil || len(found.RepoTags) > 0 || found.Config == nil || found.Config.Labels[labelBuilt] == "" {
		return
	}
	_, _ = r.api.ImageRemove(ctx, id, image.RemoveOptions{})
}

// baseHint says what to do when the base image cannot be pulled.
func baseHint(err error) string {
	for _, sign := range []string{"manifest unknown", "pull access denied", "no such host", "connection refused", "i/o timeout", "Client.Timeout", "TLS handshake", "network is unreachable", "server misbehaving"} {
		if strings.Contains(err.Error(), sign) {
			return "; if it is the base image that cannot be pulled here, run stacks/images/prepare, which makes it from Debian's packages"
		}
	}
	return ""
}

func tagName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(name))
	if name = strings.Trim(name, "-"); name == "" {
		return "app"
	}
	return name
}

const (
	tailLines = 15
	stepWidth = 90 // of a build step's line; a RUN can be a page long
)

// follow reads the progress of a build or pull to its end. It returns the last
// lines, and the error that the engine put into the stream, if any. heard is
// called for each message, progress for each step that was not in the cache.
func follow(body io.ReadCloser, heard func(), progress func(string)) (said []string, err error) {
	defer body.Close()
	var tail show.Tail
	defer func() { said = tail.Lines(tailLines) }()
	dec := json.NewDecoder(bufio.NewReader(body))
	step := ""
	for {
		var m struct{ Stream, Error string }
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		heard()
		if m.Error != "" {
			return nil, errors.New(m.Error)
		}
		for line := range strings.Lines(m.Stream) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			fmt.Fprintln(&tail, line)
			switch {
			case strings.HasPrefix(line, "Step "):
				step = show.Shorten(strings.Join(strings.Fields(line), " "), stepWidth)
			case strings.HasPrefix(line, "---> Using cache"):
				step = ""
			case strings.HasPrefix(line, "---> Running in") && step != "":
				progress(step)
				step = ""
			}
		}
	}
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
