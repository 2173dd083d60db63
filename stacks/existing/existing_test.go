package existing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/existing"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// serve starts a server for each stack, which answers as the suite's application
// does.
func serve(t *testing.T) func(stacks.Spec) (string, error) {
	return func(spec stacks.Spec) (string, error) {
		mux := http.NewServeMux()
		mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
			if spec.Services[0].Env["NEVER_READY"] != "" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		mux.HandleFunc("/predict", func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			_ = json.NewEncoder(w).Encode(map[string]int64{"length": n})
		})
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		return server.URL, nil
	}
}

func TestConformance(t *testing.T) {
	stackstest.Run(t, stackstest.Bench{Runtime: &existing.Runtime{URL: serve(t)}})
}

// TestUnknown: what cannot be known of a server is nil or an error, and says
// why. The server outlives its stack.
func TestUnknown(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	r := existing.Runtime{URL: existing.At(server.URL)}
	stack, err := r.Start(t.Context(), stacks.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	meter, err := stack.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u := meter.Stop(); u.Memory != nil || u.CPU != nil || u.Start != nil || u.KernelPeak != nil || u.Samples != 0 || u.Reason == "" {
		t.Errorf("usage: %+v", u)
	}
	facts, err := stack.Inspect(t.Context())
	if err != nil || len(facts.Services) > 0 || facts.Route != stacks.RouteGiven || facts.GPU == "" {
		t.Errorf("facts: %+v, %v", facts, err)
	}
	if _, err := stack.Exec(t.Context(), stacks.AppService, "true"); err == nil {
		t.Error("a command was run inside")
	}
	var logs bytes.Buffer
	if err := stack.Logs(t.Context(), &logs); err != nil || logs.Len() > 0 {
		t.Errorf("logs: %q, %v", &logs, err)
	}
	if err := stack.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	resp, err := server.Client().Get(stack.URL())
	if err != nil {
		t.Fatalf("after its stack was stopped: %v", err)
	}
	resp.Body.Close()
}

// TestDevices: what runs already cannot be given any.
func TestDevices(t *testing.T) {
	r := existing.Runtime{URL: existing.At("http://127.0.0.1:1")}
	if uuids, none, err := r.Devices(t.Context(), scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}); uuids != nil || none == "" || err != nil {
		t.Errorf("auto: %v, %q, %v", uuids, none, err)
	}
	if _, _, err := r.Devices(t.Context(), scenarios.GPU{Mode: scenarios.GPURequired, Count: 1}); !errors.Is(err, stacks.ErrUnavailable) {
		t.Errorf("required: %v", err)
	}
}

// TestRefused: limits cannot be given to what runs already.
func TestRefused(t *testing.T) {
	r := existing.Runtime{URL: existing.At("http://127.0.0.1:1")}
	for _, test := range []struct {
		name    string
		service stacks.Service
		is      error
	}{
		{"nothing", stacks.Service{}, nil},
		{"memory", stacks.Service{Memory: 1 << 30}, stacks.ErrUnavailable},
		{"cores", stacks.Service{Cores: []int{1}}, stacks.ErrUnavailable},
		{"CPUs", stacks.Service{CPUs: 0.5}, stacks.ErrUnavailable},
	} {
		err := r.Prepare(t.Context(), stacks.Spec{Name: "there", Services: []stacks.Service{test.service}}, nil)
		if !errors.Is(err, test.is) || err != nil && !strings.Contains(err.Error(), "there") {
			t.Errorf("%s: %v, want %v", test.name, err, test.is)
		}
	}
}

// faulty is how a test gets stacks that fail: those of a runtime, with what
// they embed replaced.
type faulty struct{ existing.Runtime }

func (r *faulty) Start(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
	stack, err := r.Runtime.Start(ctx, spec)
	return stubborn{stack}, err
}

type stubborn struct{ stacks.Stack }

func (stubborn) Stop(context.Context) error { return errors.New("it does not end") }

// Example shows a runtime with a server for each topology, one of which cannot
// be started, and whose stacks cannot be stopped.
func Example() {
	urls := map[string]string{"flask": "http://127.0.0.1:8000"}
	runtime := &faulty{existing.Runtime{URL: func(spec stacks.Spec) (string, error) {
		if urls[spec.Name] == "" {
			return "", errors.New("there is no server " + spec.Name)
		}
		return urls[spec.Name], nil
	}}}
	for _, name := range []string{"flask", "gunicorn-w2"} {
		spec, _ := servers.Expand("run", scenarios.Plan{}, scenarios.Topology{Name: name, Server: "flask"})
		stack, err := runtime.Start(context.Background(), spec)
		if err != nil {
			fmt.Println(err.Error())
			continue
		}
		fmt.Println(stack.URL(), stack.Stop(context.Background()).Error())
	}
	// Output:
	// http://127.0.0.1:8000 it does not end
	// there is no server gunicorn-w2
}
