package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// contextOf makes a build context of some files.
func contextOf(t *testing.T, files map[string]string) scenarios.Build {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return scenarios.Build{Context: dir}
}

// built builds a context, and returns what was said meanwhile.
func built(t *testing.T, r *Runtime, b scenarios.Build) (said string, err error) {
	t.Helper()
	id, err := r.buildFolder(t.Context(), b, func(line string) { said += line + "\n" })
	if err == nil {
		t.Cleanup(func() {
			_, _ = r.api.ImageRemove(context.Background(), id, image.RemoveOptions{Force: true, PruneChildren: true})
		})
	}
	return said, err
}

// TestAttackBuildAsPeopleDo: a build does what docker build does, with BuildKit and,
// as far as that can, without.
func TestAttackBuildAsPeopleDo(t *testing.T) {
	r := engine(t)
	version, err := r.version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Each build has one step that runs: what it has to see is looked for there.
	const stages = `# syntax=registry.invalid/nobody/builder:1
ARG BASE=` + BaseImage + `
FROM $BASE AS app
ARG TARGETARCH
ARG TARGETPLATFORM
COPY . /sent
RUN SECRETS test "$TARGETARCH" = ` + runtime.GOARCH + ` && test "$TARGETPLATFORM" = linux/` + runtime.GOARCH + ` && \
    test -e /sent/app.py && test ! -e /sent/secret.txt CHECK
FROM app AS test
RUN --mount=type=secret,id=token cat /run/secrets/token; false
`
	plain := strings.NewReplacer("SECRETS", "", "CHECK", "").Replace(stages)
	mounts := strings.NewReplacer("SECRETS", "--mount=type=secret,id=pip --mount=type=secret,id=token",
		"CHECK", "&& test $(cat /run/secrets/pip /run/secrets/token) = the-passwordthe-token").Replace(stages)
	secret := filepath.Join(t.TempDir(), "pip.conf")
	if err := os.WriteFile(secret, []byte("the-password"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BUILD_TOKEN", "the-token")
	secrets := map[string]scenarios.BuildSecret{"pip": {File: secret}, "token": {Env: "BUILD_TOKEN"}}
	of := func(dockerfile, target string) scenarios.Build {
		b := contextOf(t, map[string]string{"app.py": t.TempDir(), "secret.txt": "s", "Dockerfile.dockerignore": "secret.txt\n", ".dockerignore": "app.py\n", "Dockerfile": dockerfile})
		b.Target = target
		return b
	}
	newer := map[string]string{"heredoc": "FROM " + BaseImage + "\nRUN <<EOF\necho hello\nEOF\n", "link": "FROM " + BaseImage + "\nCOPY --link . /app\n"}

	t.Setenv("DOCKER_BUILDKIT", "1")
	b := of(mounts, "app")
	b.Secrets = secrets
	if said, err := built(t, r, b); err != nil || !strings.Contains(said, "build context: ") || !strings.Contains(said, "RUN --mount=type=secret,id=pip") {
		t.Errorf("%v; it said\n%s", err, said)
	}
	b.Target = "" // its last stage fails; the others are there already
	if _, err := built(t, r, b); err == nil || strings.Contains(err.Error(), "the-token") || !strings.Contains(err.Error(), show.Redacted) {
		t.Errorf("a build that fails shows its secret, or nothing: %v", err)
	}
	for name, dockerfile := range newer {
		_, err := built(t, r, contextOf(t, map[string]string{"Dockerfile": dockerfile}))
		if knows := atLeast(version.Version, 23, 0); knows != (err == nil) || err != nil && !strings.Contains(err.Error(), "# syntax=docker/dockerfile:1") {
			t.Errorf("%s: %v", name, err)
		}
	}

	t.Setenv("DOCKER_BUILDKIT", "0")
	if said, err := built(t, r, of(plain, "app")); err != nil || !strings.Contains(said, "build context: ") || !strings.Contains(said, "RUN test ") {
		t.Errorf("without BuildKit: %v; it said\n%s", err, said)
	}
	newer["mount"] = mounts
	for name, dockerfile := range newer {
		if _, err := built(t, r, of(dockerfile, "")); err == nil || !strings.Contains(err.Error(), "only BuildKit knows") || !strings.Contains(err.Error(), "unset it") {
			t.Errorf("%s without BuildKit: %v", name, err)
		}
	}
	if _, err := built(t, r, b); err == nil || !strings.Contains(err.Error(), "need BuildKit") {
		t.Errorf("secrets without BuildKit: %v", err)
	}
}

// TestAttackImageOfAnotherArchitecture is refused before anything starts.
func TestAttackImageOfAnotherArchitecture(t *testing.T) {
	r := engine(t)
	other := "arm64"
	if runtime.GOARCH == other {
		other = "amd64"
	}
	// An image as docker save writes it, with one empty layer.
	var layer, saved bytes.Buffer
	_ = tar.NewWriter(&layer).Close() // writing to a buffer cannot fail
	const name = "stackmeter-test/other:1"
	tw := tar.NewWriter(&saved)
	for file, text := range map[string]string{
		"layer.tar":     layer.String(),
		"config.json":   fmt.Sprintf(`{"architecture":%q,"os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`, other, sha256.Sum256(layer.Bytes())),
		"manifest.json": fmt.Sprintf(`[{"Config":"config.json","RepoTags":[%q],"Layers":["layer.tar"]}]`, name),
	} {
		_ = tw.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(text))})
		_, _ = tw.Write([]byte(text))
	}
	_ = tw.Close()
	loaded, err := r.api.ImageLoad(t.Context(), &saved)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follow(loaded.Body, func() {}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.api.ImageRemove(context.Background(), name, image.RemoveOptions{Force: true}) })
	err = r.Prepare(t.Context(), stacks.Spec{Services: []stacks.Service{{Name: "app", Image: name}}}, func(string) {})
	if err == nil || !strings.Contains(err.Error(), name+" is for linux/"+other) || !strings.Contains(err.Error(), "docker pull --platform linux/"+runtime.GOARCH) {
		t.Errorf("%v", err)
	}
}
