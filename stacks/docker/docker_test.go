package docker

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/filters"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// engine is a runtime over the engine of this machine; without one, or
// without the base image, the test is skipped.
func engine(t testing.TB) *Runtime {
	t.Helper()
	r, err := New()
	if err == nil {
		err = r.Check(t.Context())
	}
	if err != nil {
		t.Skipf("needs a Docker engine: %v", err)
	}
	t.Cleanup(func() { r.Close() })
	if r.Image(t.Context(), BaseImage) == "" {
		t.Skipf("needs the image %s: stacks/images/prepare makes it", BaseImage)
	}
	return r
}

func (r *Runtime) leftovers(ctx context.Context, run string) ([]string, error) {
	all, err := r.list(ctx, filters.NewArgs(filters.Arg("label", LabelRun+"="+run)))
	var names []string
	for _, c := range all.containers {
		names = append(names, "container "+containerName(c))
	}
	for _, n := range all.networks {
		names = append(names, "network "+n.Name)
	}
	for _, v := range all.volumes {
		names = append(names, "volume "+v.Name)
	}
	return names, err
}

func TestConformance(t *testing.T) {
	stackstest.NoLeaks(t)
	r := engine(t)
	stackstest.Run(t, stackstest.Bench{Runtime: r, Leftovers: r.leftovers, Names: true, Limits: true})
}

func TestPublished(t *testing.T) {
	r := engine(t)
	r.Publish = true
	for _, topology := range []string{"flask", "nginx"} {
		t.Run(topology, func(t *testing.T) {
			chosen := stackstest.Flask
			if topology == "nginx" {
				chosen = stackstest.Nginx
			}
			spec := stackstest.Spec(t, "test-published-"+filepath.Base(t.TempDir()), chosen, func(p *scenarios.Plan) { p.App.Env = map[string]string{"STARTUP_DELAY": "1"} })
			if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
				t.Fatal(err)
			}
			stack, err := r.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer stack.Stop(context.Background())
			// The engine takes connections to the port from the beginning.
			spec.Ready.Path, spec.Ready.TCP = "", true
			if err := stacks.WaitReady(t.Context(), spec, stack); err != nil {
				t.Fatal(err)
			}
			if resp, err := http.Get(stack.URL()); err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("once it is ready: %v, %v", resp, err)
			} else {
				resp.Body.Close()
			}
			facts, err := stack.Inspect(t.Context())
			if err != nil || facts.Route != stacks.RoutePublished {
				t.Errorf("route %q, %v", facts.Route, err)
			}
		})
	}
}

// orphanRun makes the re-executed test binary start a stack and wait to be
// killed.
const orphanRun = "STACKMETER_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == hookName {
		if err := runHook(); err != nil {
			fail(err)
		}
		os.Exit(0)
	}
	if run := os.Getenv(orphanRun); run != "" {
		if err := orphan(run); err != nil {
			fail(err)
		}
	}
	os.Exit(m.Run())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func orphan(run string) error {
	r, err := New()
	if err != nil {
		return err
	}
	spec, err := servers.Expand(run, stackstest.Plan(), stackstest.Socket)
	if err != nil {
		return err
	}
	if _, err := r.Start(context.Background(), spec); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

func TestSweepAfterKill(t *testing.T) {
	r := engine(t)
	run := "test-killed-" + filepath.Base(t.TempDir())
	if err := r.Prepare(t.Context(), stackstest.Spec(t, run, stackstest.Socket, nil), func(string) {}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanRun+"="+run)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, out, "started\n")
	if _, err := r.Sweep(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if left, err := r.leftovers(t.Context(), run); err != nil || len(left) != 4 {
		t.Errorf("its owner is alive; two containers, a network and a volume should be there: %v, %v", left, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	names, err := r.Leftovers(t.Context())
	if still, _ := r.leftovers(t.Context(), run); err != nil || len(names) < len(still) {
		t.Errorf("Leftovers named %v (%v) of %v", names, err, still)
	}
	// Another test's run may sweep at the same time, so that what this sweep
	// itself removed is not known; that nothing stays is.
	if _, err := r.Sweep(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if left, err := r.leftovers(t.Context(), run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
