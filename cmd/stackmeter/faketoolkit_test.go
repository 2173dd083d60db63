package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"stackmeter/stacks/docker"
)

// A fakeToolkit stands in for NVIDIA's container toolkit in front of the
// machine's own engine: what it hands on of a container's creation has, in
// place of the request for GPUs, what the toolkit would have put into the
// container, which is the (FAKE) driver and nvidia-smi. Everything else of the
// engine is real.
type fakeToolkit struct {
	socket string
	folder string // mounted into containers that ask for a GPU, under its own path

	mu     sync.Mutex
	asked  [][]string // the devices of each container that asked
	mounts []string   // folders of the machine that containers had apart from the toolkit's own
}

// fakeSMI lists what the container asked for, unless the container lost it.
// It leaves a file seen-CONTAINER behind; a file lost-CONTAINER takes the GPU
// away from that container, as a reload of systemd's units does.
const fakeSMI = `#!/bin/sh
: > "$FAKE_TOOLKIT/seen-$(hostname)"
if [ -e "$FAKE_TOOLKIT/lost-$(hostname)" ]; then
	echo "Failed to initialize NVML: Unknown Error"
	exit 255
fi
for uuid in $FAKE_DEVICES; do
	echo "GPU 0: FAKE GPU (no hardware) (UUID: $uuid)"
done
`

// startFakeToolkit serves a Docker socket until the test ends.
func startFakeToolkit(t *testing.T, state string) *fakeToolkit {
	t.Helper()
	engine, err := docker.New()
	if err == nil {
		err = engine.Check(t.Context())
	}
	if err != nil {
		t.Skipf("needs a Docker engine: %v", err)
	}
	defer engine.Close()
	if engine.Image(t.Context(), docker.BaseImage) == "" {
		t.Skipf("needs the image %s: stacks/images/prepare makes it", docker.BaseImage)
	}
	real, ok := strings.CutPrefix(cmp.Or(os.Getenv("DOCKER_HOST"), "unix:///var/run/docker.sock"), "unix://")
	if !ok {
		t.Skip("needs an engine on this machine")
	}
	// A socket's path is limited to 108 bytes, which t.TempDir can exceed.
	dir, err := os.MkdirTemp("", "stackmeter-toolkit-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fakeToolkit{socket: filepath.Join(dir, "docker.sock"), folder: state}
	if err := os.WriteFile(filepath.Join(state, "nvidia-smi"), []byte(fakeSMI), 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker"
			if r.In.Method == http.MethodPost && strings.HasSuffix(r.In.URL.Path, "/containers/create") {
				f.create(t, r.Out)
			}
		},
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", real)
		}},
	}
	server := &http.Server{Handler: proxy}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return f
}

// create changes the request for a container that asks for GPUs.
func (f *fakeToolkit) create(t *testing.T, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
		return
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Error(err)
		return
	}
	host, _ := config["HostConfig"].(map[string]any)
	if requests, _ := host["DeviceRequests"].([]any); len(requests) > 0 {
		var ids []string
		for _, id := range requests[0].(map[string]any)["DeviceIDs"].([]any) {
			ids = append(ids, id.(string))
		}
		f.mu.Lock()
		f.asked = append(f.asked, ids)
		mounts, _ := host["Mounts"].([]any)
		for _, m := range mounts {
			f.mounts = append(f.mounts, fmt.Sprint(m.(map[string]any)["Source"], ":", m.(map[string]any)["Target"]))
		}
		f.mu.Unlock()
		delete(host, "DeviceRequests")
		binds, _ := host["Binds"].([]any)
		host["Binds"] = append(binds, f.folder+":"+f.folder, filepath.Join(f.folder, "nvidia-smi")+":/usr/bin/nvidia-smi:ro")
		env, _ := config["Env"].([]any)
		config["Env"] = append(env, "FAKE_TOOLKIT="+filepath.Join(f.folder, "alloc"), "FAKE_DEVICES="+strings.Join(ids, " "))
		if text, err = json.Marshal(config); err != nil {
			t.Error(err)
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}
