package docker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/versions"
	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/go-archive"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
	fsutiltypes "github.com/tonistiigi/fsutil/types"

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/stacks"
)

// buildFolder builds the scenario's context. Its tag follows from what the
// scenario says, so that the next night finds the engine's layers.
func (r *Runtime) buildFolder(ctx context.Context, b scenarios.Build, progress func(string)) (string, error) {
	key, err := json.Marshal(b)
	if err != nil {
		return "", fmt.Errorf("build context %s: %w", b.Context, err)
	}
	id, err := r.build(ctx, filepath.Base(b.Context), key, b, progress)
	if err != nil {
		return "", fmt.Errorf("build context %s: %w", b.Context, err)
	}
	return id, nil
}

// contextPrefix begins the names of the folders of buildOwn, before their owner.
const contextPrefix = "stackmeter-build-"

// sweepContexts removes the folders of builds whose owner is gone.
func (r *Runtime) sweepContexts() (removed []string, err error) {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), contextPrefix+"*")) // the pattern is well formed
	for _, folder := range folders {
		label, _ := url.PathUnescape(strings.TrimPrefix(filepath.Base(folder), contextPrefix))
		owner, other := stacks.ParseOwner(label)
		if other != nil || !owner.Gone(r.owner) {
			continue
		}
		if failed := os.RemoveAll(folder); failed != nil {
			err = errors.Join(err, failed)
		} else {
			removed = append(removed, folder)
		}
	}
	return removed, err
}

// buildOwn builds one of stackmeter's own images from a context inside this binary. A
// program that it names is added to the context as stackmeter.
func (r *Runtime) buildOwn(ctx context.Context, name string, content fs.FS, program string, progress func(string)) (id string, err error) {
	dir, err := os.MkdirTemp("", contextPrefix+url.PathEscape(r.owner.String()+" ")+"*") // a killed run's is swept
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.CopyFS(dir, content)
	}
	if err == nil && program != "" {
		err = copyProgram(filepath.Join(dir, "stackmeter"), program)
	}
	if err == nil {
		id, err = r.build(ctx, name, []byte(name), scenarios.Build{Context: dir}, progress)
	}
	if err != nil {
		return "", fmt.Errorf("stackmeter's %s image: %w", name, err)
	}
	return id, nil
}

func copyProgram(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// build runs the engine's builder and returns the image's id. If the tag named
// another image before, that one is removed unless it has another name or is in
// use: old images of a nightly run must not fill the disk.
func (r *Runtime) build(ctx context.Context, name string, key []byte, b scenarios.Build, progress func(string)) (string, error) {
	building, heard, stop := whileHeard(ctx, r.Limits.build())
	defer stop()
	tag := fmt.Sprintf("stackmeter/%s:%.6x", tagName(name), sha256.Sum256(key))
	before, _ := r.inspectImage(ctx, tag)
	secrets, err := buildSecrets(b.Secrets)
	if err != nil {
		return "", err
	}
	b.Dockerfile = cmp.Or(b.Dockerfile, "Dockerfile")
	how := build.ImageBuildOptions{
		Tags: []string{tag}, Dockerfile: b.Dockerfile, Target: b.Target, BuildArgs: map[string]*string{},
		Labels: map[string]string{labelBuilt: "1"}, Remove: true, ForceRemove: true,
	}
	// A build needs the operator's proxies to reach what this machine reaches.
	// Every builder knows these arguments and keeps them, with their passwords,
	// out of the image's history, unless the Dockerfile declares them itself
	// (ARG http_proxy).
	for _, list := range []map[string]string{stacks.Proxies(), b.Args} {
		for name, value := range list {
			how.BuildArgs[name] = &value
		}
	}
	progress("build " + tag)
	without, err := r.withoutBuildKit(ctx)
	if err != nil {
		return "", err
	}
	var said []string
	if without == "" {
		said, err = r.buildKit(building, b, how, secrets, false, heard, progress)
		if err != nil && cannotFetch(err) && strings.Contains(err.Error(), "frontend gateway") {
			progress("the builder that the Dockerfile's # syntax line names cannot be fetched: the engine's own builds instead")
			said, err = r.buildKit(building, b, how, secrets, true, heard, progress)
		}
	} else {
		said, err = r.buildClassic(building, b, how, without, heard, progress)
	}
	if err != nil {
		var values []string
		for _, value := range secrets {
			values = append(values, string(value))
		}
		return "", fmt.Errorf("%w%s\n%s", err, r.buildHint(ctx, err, without), show.Scrubber(values, nil)(strings.Join(said, "\n")))
	}
	id, err := r.inspectImage(ctx, tag)
	if err == nil && before != "" && before != id {
		r.dropImage(ctx, before)
	}
	return id, err
}

// maxBuildSecret is what BuildKit takes of one secret, in bytes.
const maxBuildSecret = 500 << 10

// buildSecrets reads the values of a build's secrets.
func buildSecrets(named map[string]scenarios.BuildSecret) (map[string][]byte, error) {
	values := map[string][]byte{}
	for name, from := range named {
		if from.Env != "" {
			values[name] = []byte(os.Getenv(from.Env))
			continue
		}
		f, err := os.Open(from.File)
		if err != nil {
			return nil, fmt.Errorf("build secret %s: %w", name, err)
		}
		defer f.Close()
		if values[name], err = io.ReadAll(io.LimitReader(f, maxBuildSecret+1)); err != nil {
			return nil, fmt.Errorf("build secret %s: %w", name, err)
		}
		if len(values[name]) > maxBuildSecret {
			return nil, fmt.Errorf("build secret %s: %s is larger than %d bytes, the most that a builder takes", name, from.File, maxBuildSecret)
		}
	}
	return values, nil
}

// withoutBuildKit says why a build does not go through BuildKit; empty if it does.
// Every Docker engine since 18.09 has it, also where its own command line does not
// use it by default.
func (r *Runtime) withoutBuildKit(ctx context.Context) (string, error) {
	if r.podman.Load() {
		return "the engine is Podman, which builds by a builder of its own", nil
	}
	if on, err := strconv.ParseBool(os.Getenv("DOCKER_BUILDKIT")); err == nil && !on {
		return "DOCKER_BUILDKIT=0 in the environment switches BuildKit off; unset it", nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	answer, err := r.api.Ping(ctx)
	switch {
	case err != nil:
		return "", err
	case versions.LessThan(r.api.ClientVersion(), "1.39"):
		return "the engine has no BuildKit; update it to 18.09 or newer", nil
	case answer.BuilderVersion == build.BuilderV1:
		return "the engine's daemon.json switches BuildKit off; set features.buildkit to true there", nil
	}
	return "", nil
}

// buildKit builds with BuildKit. It asks for the files that it needs, and for the
// secrets, through a session: a connection on which this process is the server. It
// reads the ignore file itself, and leaves out what that names. own keeps it from
// fetching another builder that the Dockerfile names.
func (r *Runtime) buildKit(ctx context.Context, b scenarios.Build, how build.ImageBuildOptions, secrets map[string][]byte, own bool, heard func(), progress func(string)) ([]string, error) {
	files := contextFiles{b, own}
	if _, err := files.open(); err != nil {
		return nil, err
	}
	shared := how.Tags[0] // what the engine has of the context from before
	if own {
		shared += "-own"
	}
	s, err := session.NewSession(ctx, shared)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.Allow(filesync.NewFSSyncProvider(files))
	s.Allow(secretsprovider.FromMap(secrets))
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	go func() {
		err := s.Run(ctx, func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return r.api.DialHijack(ctx, "/session", proto, meta)
		})
		if err != nil {
			fail(fmt.Errorf("session with the engine's builder: %w", err))
		}
	}()
	how.Version, how.SessionID, how.RemoteContext = build.BuilderBuildKit, s.ID(), "client-session"
	return r.runBuild(ctx, nil, how, heard, progress)
}

// contextFiles are a build's context. The engine asks for it several times at once,
// and a filter of fsutil is for one at a time: its patterns are compiled when they
// are first used.
type contextFiles struct {
	build scenarios.Build
	own   bool
}

// LookupDir implements filesync.DirSource.
func (c contextFiles) LookupDir(name string) (fsutil.FS, bool) {
	files, err := c.open()
	return files, err == nil && (name == "context" || name == "dockerfile")
}

func (c contextFiles) open() (fsutil.FS, error) {
	files, err := fsutil.NewFS(c.build.Context)
	if err == nil {
		files, err = fsutil.NewFilterFS(files, &fsutil.FilterOpt{ExcludePatterns: []string{neverSent}, Map: func(_ string, s *fsutiltypes.Stat) fsutil.MapResult {
			s.Uid, s.Gid = 0, 0 // whose files they are on this machine means nothing in an image
			return fsutil.MapResultKeep
		}})
	}
	if err == nil && c.own {
		files = ownFS{files, c.build.Dockerfile}
	}
	return files, err
}

// An ownFS is a context whose Dockerfile names no builder.
type ownFS struct {
	fsutil.FS
	dockerfile string
}

// syntaxLine names a builder: https://docs.docker.com/reference/dockerfile/#syntax
var syntaxLine = regexp.MustCompile(`(?im)^#[ \t]*syntax[ \t]*=`)

func (f ownFS) Open(name string) (io.ReadCloser, error) {
	file, err := f.FS.Open(name)
	if err != nil || name != filepath.Clean(f.dockerfile) {
		return file, err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	return io.NopCloser(bytes.NewReader(syntaxLine.ReplaceAllFunc(text, func(line []byte) []byte {
		return bytes.ReplaceAll(line, []byte("="), []byte(" ")) // the file's size stays
	}))), err
}

// buildClassic builds with the builder that an engine without BuildKit has. All of
// the context is sent to it.
func (r *Runtime) buildClassic(ctx context.Context, b scenarios.Build, how build.ImageBuildOptions, why string, heard func(), progress func(string)) ([]string, error) {
	if len(b.Secrets) > 0 {
		return nil, fmt.Errorf("app.build.secrets need BuildKit: %s", why)
	}
	exclude, err := ignored(b.Context, b.Dockerfile)
	if err != nil {
		return nil, err
	}
	if len(exclude) > 0 {
		// The builder needs it even if the ignore file keeps it out of the image.
		exclude = append(exclude, "!"+b.Dockerfile)
	}
	version, err := r.version(ctx)
	if err != nil {
		return nil, err
	}
	platform := version.Os + "/" + version.Arch
	for name, value := range map[string]string{"PLATFORM": platform, "OS": version.Os, "ARCH": version.Arch} {
		for _, kind := range []string{"TARGET", "BUILD"} {
			if how.BuildArgs[kind+name] == nil {
				how.BuildArgs[kind+name] = &value
			}
		}
	}
	body, err := archive.TarWithOptions(b.Context, &archive.TarOptions{ExcludePatterns: append(exclude, neverSent)})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var sent int64
	how.Version = build.BuilderV1
	return r.runBuild(ctx, readerFunc(func(p []byte) (int, error) {
		n, err := body.Read(p)
		heard()
		if sent += int64(n); err == io.EOF {
			progress(contextSize(sent))
		}
		return n, err
	}), how, heard, progress)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// contextSize says how much of a context went to the engine.
func contextSize(sent int64) string {
	return "build context: " + units.Bytes.Format(float64(sent)) + " sent"
}

// runBuild makes the call and reads its answer to the end.
func (r *Runtime) runBuild(ctx context.Context, body io.Reader, how build.ImageBuildOptions, heard func(), progress func(string)) ([]string, error) {
	resp, err := r.api.ImageBuild(ctx, body, how)
	if err != nil {
		return nil, err
	}
	return follow(resp.Body, heard, progress)
}

// neverSent is left out of every context: git's own folder belongs to the
// operator, and a CI job's checkout may keep a token in it.
const neverSent = "**/.git"

// maxIgnore bounds a .dockerignore, in bytes.
const maxIgnore = 1 << 20

// ignored reads what a context's ignore file keeps out: that of the Dockerfile's
// own (Dockerfile.dockerignore), or else .dockerignore, or nothing. The context may
// be a stranger's: a link out of it is not followed, and only a regular file is
// read.
func ignored(dir, dockerfile string) ([]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Without O_NONBLOCK, opening a named pipe waits for a writer.
	name := dockerfile + ".dockerignore"
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		name = ".dockerignore"
		f, err = root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	}
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

// cannotFetch reports whether an error says that an image could not be fetched.
func cannotFetch(err error) bool {
	return hasAny(err, "manifest unknown", "pull access denied", "no such host", "connection refused", "i/o timeout", "Client.Timeout", "TLS handshake", "network is unreachable", "server misbehaving")
}

func hasAny(err error, signs ...string) bool {
	return slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(err.Error(), sign) })
}

// buildHint says what to do about some errors of a build. without is why it did not
// go through BuildKit, if it did not.
func (r *Runtime) buildHint(ctx context.Context, err error, without string) string {
	switch newer := hasAny(err, "unknown instruction", "nknown flag", "requires BuildKit"); {
	case newer && without != "":
		return "; the Dockerfile uses what only BuildKit knows, such as RUN --mount, COPY --link or <<EOF, or a word is misspelt: " + without
	case newer:
		version, _ := r.version(ctx)
		return fmt.Sprintf("; if no word is misspelt, the Dockerfile is for a newer builder than that of the engine (%s; <<EOF and COPY --link came with 23.0): update the engine, or let # syntax=docker/dockerfile:1 be the Dockerfile's first line and let the engine reach the registry, from which it fetches that builder", version.Version)
	case cannotFetch(err):
		return "; if it is the base image that cannot be pulled here, pull it where you are logged in (docker pull), or, if it is " + BaseImage + ", run stacks/images/prepare, which makes it from Debian's packages"
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
	step, told := "", map[string]bool{}
	for {
		var m struct {
			ID, Stream, Error string
			Aux               json.RawMessage
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		heard()
		if m.Error != "" {
			return nil, errors.New(strings.TrimPrefix(strings.TrimPrefix(m.Error, "failed to solve with frontend dockerfile.v0: "), "failed to create LLB definition: "))
		}
		if m.ID == "moby.buildkit.trace" {
			if err := trace(m.Aux, &tail, told, progress); err != nil {
				return nil, err
			}
			continue
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

// trace reads what BuildKit says of a build: its steps, what they print, and how
// much of the context it has read. told holds the steps that have been told.
func trace(aux json.RawMessage, tail io.Writer, told map[string]bool, progress func(string)) error {
	var text []byte
	if err := json.Unmarshal(aux, &text); err != nil {
		return err
	}
	var status control.StatusResponse
	if err := status.UnmarshalVT(text); err != nil {
		return err
	}
	for _, v := range status.Vertexes {
		step := strings.Join(strings.Fields(v.Name), " ")
		if step == "[internal] load build context" {
			told["context "+v.Digest] = true
		}
		if v.Started == nil || v.Cached || told[v.Digest] || !strings.HasPrefix(step, "[") || strings.HasPrefix(step, "[internal]") {
			continue
		}
		told[v.Digest] = true
		fmt.Fprintln(tail, step)
		progress(show.Shorten(step, stepWidth))
	}
	for _, s := range status.Statuses {
		if s.Completed != nil && told["context "+s.Vertex] {
			delete(told, "context "+s.Vertex)
			progress(contextSize(s.Current))
		}
	}
	for _, log := range status.Logs {
		_, _ = tail.Write(log.Msg) // a Tail takes everything
	}
	return nil
}
