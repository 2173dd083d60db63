package docker

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"

	"stackmeter/scenarios"
)

// TestFault28ImagesOfOthers: a build that moves the tag to a new image removes
// the one before, unless somebody has named it too or a container uses it.
func TestFault28ImagesOfOthers(t *testing.T) {
	r := engine(t)
	dir := t.TempDir()
	build := func(content string) string {
		t.Helper()
		for name, text := range map[string]string{"Dockerfile": "FROM scratch\nCOPY content /\nCMD [\"/content\"]\n", "content": dir + content} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		id, err := r.buildFolder(t.Context(), scenarios.Build{Context: dir}, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = r.api.ImageRemove(context.Background(), id, image.RemoveOptions{Force: true}) })
		return id
	}
	there := func(id string) bool {
		t.Helper()
		_, err := r.inspectImage(t.Context(), id)
		if err != nil && !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	first := build("first")
	second := build("second")
	if there(first) {
		t.Error("the image before, which has no name, is kept")
	}
	const name = "stackmeter-test-rebuild:good"
	if err := r.api.ImageTag(t.Context(), second, name); err != nil {
		t.Fatal(err)
	}
	third := build("third")
	if !there(second) || !there(name) {
		t.Error("an image with a name of somebody's own is removed")
	}
	made, err := r.api.ContainerCreate(t.Context(), &container.Config{Image: third}, nil, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.api.ContainerRemove(context.Background(), made.ID, container.RemoveOptions{Force: true})
	build("fourth")
	if !there(third) {
		t.Error("an image that a container uses is removed")
	}
}
