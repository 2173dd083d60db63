package docker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// A slowRegistry has one image of one layer, which it hands out piece by piece.
type slowRegistry struct {
	manifest, config, layer []byte
	pieces                  int           // of the layer
	pause                   time.Duration // between two of them
	stalls                  bool          // the second half never comes
}

func newSlowRegistry(t *testing.T) *slowRegistry {
	t.Helper()
	content := make([]byte, 1<<20)
	rand.Read(content) // so that it cannot be compressed
	var plain, packed bytes.Buffer
	tw := tar.NewWriter(&plain)
	_ = tw.WriteHeader(&tar.Header{Name: "content", Mode: 0o644, Size: int64(len(content))})
	_, _ = tw.Write(content)
	_ = tw.Close()
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write(plain.Bytes())
	_ = zw.Close()
	r := &slowRegistry{layer: packed.Bytes()}
	var err error
	r.config, err = json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digestOf(plain.Bytes())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	r.manifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": kind,
		"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(r.config), "digest": digestOf(r.config)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(r.layer), "digest": digestOf(r.layer)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func (r *slowRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case strings.Contains(req.URL.Path, "/manifests/"):
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
		w.Header().Set("Docker-Content-Digest", digestOf(r.manifest))
		_, _ = w.Write(r.manifest)
	case strings.HasSuffix(req.URL.Path, digestOf(r.config)):
		_, _ = w.Write(r.config)
	case strings.HasSuffix(req.URL.Path, digestOf(r.layer)):
		w.Header().Set("Content-Length", fmt.Sprint(len(r.layer)))
		each := len(r.layer)/r.pieces + 1
		for sent := 0; sent < len(r.layer); sent += each {
			if r.stalls && sent > len(r.layer)/2 {
				<-req.Context().Done()
				return
			}
			_, _ = w.Write(r.layer[sent:min(sent+each, len(r.layer))])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-req.Context().Done():
				return
			case <-time.After(r.pause):
			}
		}
	}
}

// TestSlowPull pulls from a registry that takes longer than the engine may be
// silent, and from one that stops in the middle.
func TestSlowPull(t *testing.T) {
	for _, stalls := range []bool{false, true} {
		name := map[bool]string{false: "slow", true: "stalled"}[stalls]
		t.Run(name, func(t *testing.T) {
			r := engine(t)
			r.Limits.Pull = 3 * time.Second
			registry := newSlowRegistry(t)
			registry.pieces, registry.pause, registry.stalls = 20, 300*time.Millisecond, stalls
			server := httptest.NewServer(registry)
			t.Cleanup(func() {
				server.CloseClientConnections() // the engine may still wait for the rest
				server.Close()
			})
			ref := strings.TrimPrefix(server.URL, "http://") + "/slow/app:1" // the engine takes 127.0.0.0/8 without TLS
			t.Cleanup(func() { _, _ = r.api.ImageRemove(context.Background(), ref, image.RemoveOptions{}) })
			id, err := r.image(t.Context(), stacks.Service{Image: ref}, func(string) {})
			if !stalls && (err != nil || id == "") {
				t.Errorf("%q, %v", id, err)
			}
			if stalls && (!errors.Is(lost(err), stacks.ErrLost) || !strings.Contains(err.Error(), "has said nothing of POST /images/create for 3s")) {
				t.Errorf("%q, %v", id, err)
			}
		})
	}
}

// TestSlowBuild does the same with a build's steps.
func TestSlowBuild(t *testing.T) {
	for name, step := range map[string]string{
		"slow":    "for n in 1 2 3 4 5 6 7 8 9 10; do echo $n; sleep 0.5; done",
		"stalled": "sleep 600",
	} {
		t.Run(name, func(t *testing.T) {
			r := engine(t)
			r.Limits.Build = 3 * time.Second
			folder := filepath.Join(t.TempDir(), "slow-build")
			text := fmt.Sprintf("FROM %s\nLABEL stackmeter.test=%d\nRUN %s\n", BaseImage, time.Now().UnixNano(), step)
			err := os.Mkdir(folder, 0o755)
			if err == nil {
				err = os.WriteFile(filepath.Join(folder, "Dockerfile"), []byte(text), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			id, err := r.image(t.Context(), stacks.Service{Build: &scenarios.Build{Context: folder}}, func(string) {})
			if id != "" {
				t.Cleanup(func() { _, _ = r.api.ImageRemove(context.Background(), id, image.RemoveOptions{Force: true}) })
			}
			if name == "slow" && err != nil {
				t.Error(err)
			}
			if name == "stalled" && (err == nil || !strings.Contains(err.Error(), "has said nothing of POST /build for 3s")) {
				t.Errorf("%q, %v", id, err)
			}
		})
	}
}
