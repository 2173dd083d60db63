package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/pkg/stdcopy"

	"stackmeter/stacks"
	"stackmeter/stacks/docker/enginetest"
)

// An apiServer answers the engine calls of Runtime.Prepare as another engine
// than this machine's would, and keeps what it was asked. It is no engine:
// nothing runs. What a real one does with a request of the driver nvidia is
// in TestEngineWithHook.
type apiServer struct {
	info, version string            // its answers, as JSON
	refuse        map[string]string // by driver: what a start answers
	keep          bool              // it does not remove a container
	hang          func()            // called by a wait, which then has no end

	mu      sync.Mutex
	asked   []string // HostConfig.DeviceRequests of each created container, as it came
	driver  string   // of the last one
	there   bool     // it has not been removed
	removed int
}

var apiVersion = regexp.MustCompile(`^/v[0-9.]+`)

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Api-Version", "1.50")
	answer := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
	switch call := r.Method + " " + apiVersion.ReplaceAllString(r.URL.Path, ""); call {
	case "HEAD /_ping", "GET /_ping":
		answer(http.StatusOK, "")
	case "GET /info":
		answer(http.StatusOK, s.info)
	case "GET /version":
		answer(http.StatusOK, s.version)
	case "GET /images/" + enginetest.Guest + "/json", "GET /images/sha256:0123/json":
		answer(http.StatusOK, `{"Id": "sha256:0123"}`)
	case "POST /containers/create":
		var body struct {
			HostConfig struct{ DeviceRequests json.RawMessage }
		}
		var requests []struct{ Driver string }
		if json.NewDecoder(r.Body).Decode(&body) != nil || json.Unmarshal(body.HostConfig.DeviceRequests, &requests) != nil || len(requests) != 1 {
			answer(http.StatusBadRequest, `{"message": "not one device request"}`)
			return
		}
		s.asked = append(s.asked, string(body.HostConfig.DeviceRequests))
		s.driver, s.there = requests[0].Driver, true
		answer(http.StatusCreated, `{"Id": "c1"}`)
	case "POST /containers/c1/start":
		if text, refused := s.refuse[s.driver]; refused {
			body, _ := json.Marshal(map[string]string{"message": text})
			answer(http.StatusInternalServerError, string(body))
			return
		}
		answer(http.StatusNoContent, "")
	case "POST /containers/c1/wait":
		if s.hang != nil {
			s.hang()
			s.mu.Unlock()
			<-r.Context().Done()
			s.mu.Lock()
			return
		}
		answer(http.StatusOK, `{"StatusCode": 0}`)
	case "GET /containers/c1/logs":
		var framed bytes.Buffer
		fmt.Fprintf(stdcopy.NewStdWriter(&framed, stdcopy.Stdout), "GPU 0: FAKE GPU (no hardware) (UUID: %s)\n", gpuA)
		w.Write(framed.Bytes())
	case "GET /containers/json":
		list := "[]"
		if s.there {
			list = `[{"Id": "c1", "Names": ["/probe"], "State": "exited"}]`
		}
		answer(http.StatusOK, list)
	case "GET /networks":
		answer(http.StatusOK, "[]")
	case "GET /volumes":
		answer(http.StatusOK, "{}")
	case "DELETE /containers/c1":
		if s.keep {
			answer(http.StatusInternalServerError, `{"message": "device or resource busy"}`)
			return
		}
		s.there = false
		s.removed++
		answer(http.StatusNoContent, "")
	default:
		answer(http.StatusNotImplemented, fmt.Sprintf(`{"message": %q}`, "the test's server does not know "+call))
	}
}

// runtime is one over the server.
func (s *apiServer) runtime(t *testing.T) *Runtime {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", strings.Replace(server.URL, "http://", "tcp://", 1))
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestDeviceRequestsAtTheHTTPBoundary says which JSON other engines than this
// machine's get. CDI needs Docker 25 or Podman 5.4, and no real engine of
// these is behind it.
func TestDeviceRequestsAtTheHTTPBoundary(t *testing.T) {
	const (
		docker = `{"Components": [{"Name": "Engine", "Version": "28.3.0"}]}`
		podman = `{"Components": [{"Name": "Podman Engine", "Version": %q}]}`
		nvidia = `[{"Driver":"nvidia","Count":0,"DeviceIDs":["` + gpuA + `"],"Capabilities":[["gpu"]],"Options":null}]`
		cdi    = `[{"Driver":"cdi","Count":0,"DeviceIDs":["nvidia.com/gpu=` + gpuA + `"],"Capabilities":null,"Options":null}]`
		named  = `"CDISpecDirs": ["/etc/cdi"], "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=` + gpuA + `"}]`
	)
	noNVIDIA := `could not select device driver "nvidia" with capabilities: [[gpu]]`
	noCDI := `could not select device driver "cdi" with capabilities: []`
	for _, test := range []struct {
		name          string
		info, version string
		refuse        map[string]string
		asked         []string
		fails         string
	}{
		{name: "Docker with CDI", info: named, version: docker, asked: []string{cdi}},
		{name: "Docker whose specification went stale", info: named, version: docker,
			refuse: map[string]string{"cdi": "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=" + gpuA}, asked: []string{cdi, nvidia}},
		{name: "Docker that does not list its CDI devices", info: `"CDISpecDirs": ["/etc/cdi"]`, version: docker,
			refuse: map[string]string{"nvidia": noNVIDIA}, asked: []string{nvidia, cdi}},
		{name: "Docker with the hook", version: docker, asked: []string{nvidia}},
		{name: "Docker with neither", info: `"CDISpecDirs": ["/etc/cdi"]`, version: docker,
			refuse: map[string]string{"nvidia": noNVIDIA, "cdi": noCDI}, asked: []string{nvidia, cdi}, fails: "the engine has no GPU support"},
		{name: "Podman 5.4", version: fmt.Sprintf(podman, "5.4.0"), asked: []string{cdi}},
		{name: "Podman 5.3", version: fmt.Sprintf(podman, "5.3.1"), fails: "Podman 5.3.1, which ignores"},
	} {
		t.Run(test.name, func(t *testing.T) {
			info := `{"NCPU": 2, "MemTotal": 1073741824`
			if test.info != "" {
				info += ", " + test.info
			}
			api := &apiServer{info: info + "}", version: test.version, refuse: test.refuse}
			r := api.runtime(t)
			spec := gpuSpec(t, gpuA)
			err := r.Prepare(t.Context(), spec, func(string) {})
			if test.fails == "" && err != nil {
				t.Error(err)
			} else if test.fails != "" && (!errors.Is(err, stacks.ErrNoGPU) || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("Prepare = %v, want %q as %v", err, test.fails, stacks.ErrNoGPU)
			}
			if !slices.Equal(api.asked, test.asked) {
				t.Errorf("device requests\n%s\nwant\n%s", strings.Join(api.asked, "\n"), strings.Join(test.asked, "\n"))
			}
			if api.there || api.removed != len(test.asked) {
				t.Errorf("%d of %d containers removed", api.removed, len(test.asked))
			}
			if err != nil {
				return
			}
			// A stack then asks in the way that was proven.
			proven, err := r.proveGPU(t.Context(), spec, spec.Services[0], "", func(string) {})
			if err != nil || proven.Driver != api.driver || len(api.asked) != len(test.asked) {
				t.Errorf("a stack asks by %+v, %v; the proof was by %s", proven, err, api.driver)
			}
		})
	}
}

// TestProbeThatProvesNothing: what is no refusal of a GPU must not make a run
// with the mode auto go on without one.
func TestProbeThatProvesNothing(t *testing.T) {
	const info, version = `{"NCPU": 2, "MemTotal": 1073741824}`, `{"Components": [{"Name": "Engine", "Version": "20.10.24"}]}`
	t.Run("cancelled while nvidia-smi hangs", func(t *testing.T) {
		interrupted := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		api := &apiServer{info: info, version: version, hang: func() { cancel(interrupted) }}
		err := api.runtime(t).Prepare(ctx, gpuSpec(t, gpuA), func(string) {})
		if !errors.Is(err, interrupted) || errors.Is(err, stacks.ErrNoGPU) {
			t.Errorf("Prepare = %v, want %v", err, interrupted)
		}
		if api.there {
			t.Error("the container was left behind")
		}
	})
	t.Run("its container cannot be removed", func(t *testing.T) {
		api := &apiServer{info: info, version: version, keep: true}
		err := api.runtime(t).Prepare(t.Context(), gpuSpec(t, gpuA), func(string) {})
		if err == nil || errors.Is(err, stacks.ErrNoGPU) || !strings.Contains(err.Error(), "is still there") {
			t.Errorf("Prepare = %v, want what is still there", err)
		}
	})
}
