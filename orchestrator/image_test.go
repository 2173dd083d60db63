package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/stacks/docker"
)

// TestFault14ImageThatCannotBeHad: a registry that refuses, one that does not
// know the image, and one that is not there. All of it is known before the
// first stack starts, with the image's name and what to do; the other
// topologies are measured, and their images' digests are in the records.
func TestFault14ImageThatCannotBeHad(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	var refused, unknown atomic.Int64
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/private/"):
			refused.Add(1)
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`))
		case strings.HasPrefix(r.URL.Path, "/v2/unknown/"):
			unknown.Add(1)
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`))
		}
	}))
	defer registry.Close()
	at := strings.TrimPrefix(registry.URL, "http://") // the engine takes 127.0.0.0/8 without TLS
	gone := httptest.NewServer(nil)
	nowhere := strings.TrimPrefix(gone.URL, "http://")
	gone.Close()

	records := b.mustExecute(b.plan(`
order: listed
topologies:
  - {name: private, server: flask, image: "` + at + `/private/app:1"}
  - {name: unknown, server: flask, image: "` + at + `/unknown/app:2"}
  - {name: nowhere, server: flask, image: "` + nowhere + `/team/app:3"}
  - flask
matrix: {requests: [2], client: [single]}
`))
	for name, image := range map[string]string{"private": at + "/private/app:1", "unknown": at + "/unknown/app:2", "nowhere": nowhere + "/team/app:3"} {
		r := records[name+"/single/n2"]
		if r.Status != results.StatusFailed || r.Duration != nil || !strings.Contains(r.Reason, image) || !strings.Contains(r.Reason, "is not in the engine and cannot be pulled") {
			t.Errorf("%s: %s, %s", name, r.Status, r.Reason)
		}
		begun := slices.IndexFunc(b.events, func(e orchestrator.Event) bool { return e.Kind == orchestrator.EventStart })
		told := slices.IndexFunc(b.events, func(e orchestrator.Event) bool {
			return e.Kind == orchestrator.EventNote && strings.Contains(e.Message, image)
		})
		if told < 0 || told > begun {
			t.Errorf("%s: told of by event %d, the first stack started with event %d", name, told, begun)
		}
	}
	if refused.Load() == 0 || unknown.Load() == 0 {
		t.Errorf("the registry was asked %d and %d times", refused.Load(), unknown.Load())
	}
	r := records["flask/single/n2"]
	if r.Status != results.StatusOK || r.Stack == nil || !strings.HasPrefix(r.Stack.Services[0].Digest, "sha256:") {
		t.Errorf("flask: %s, %s, %+v", r.Status, r.Reason, r.Stack)
	}
}

// TestFault14ImageChanges gives an image's name to another image between two
// trials. Cells of one run are measured on the same image, or not at all.
func TestFault14ImageChanges(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	command := func(input string, args ...string) string {
		t.Helper()
		cmd := exec.Command("docker", args...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("docker %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	name := "stackmeter-test/changes:" + strings.TrimPrefix(b.run, "test-")
	app := b.mustExecute(b.plan("topologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"))["flask/single/n1"].Stack.Services[0].Digest
	made := func() string { // an image of the test's own, so that it can be removed
		command(fmt.Sprintf("FROM %s\nLABEL stackmeter.test=%s\n", app, b.run), "build", "--quiet", "--tag", name, "-")
		return command("", "image", "inspect", "--format", "{{.Id}}", name)
	}
	defer func() { command("", "image", "rm", name) }()
	plan := b.plan(fmt.Sprintf(`
topologies: [{name: app, server: flask, image: %q}]
matrix: {requests: [2], client: [single]}
repeats: 2
`, name))
	// execute measures one repeat on a new image of that name, and the other one
	// after change.
	execute := func(run string, change func(began string)) (began string, records []results.Record) {
		t.Helper()
		began = made()
		changed := false
		b.onEvent = func(e orchestrator.Event) {
			if e.Kind == orchestrator.EventStopped && !changed {
				changed = true
				change(began)
			}
		}
		b.run += run
		b.Runtime = b.another()
		if _, err := b.execute(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
		stored, records, err := b.store.Run(t.Context(), b.run)
		if err != nil {
			t.Fatal(err)
		}
		if got := stored.Images["app/app"]; got != began {
			t.Errorf("%s: the run began on image %q, want %s", run, got, began)
		}
		return began, records
	}
	anew := func(string) { command("", "tag", docker.BaseImage, name) }

	began, records := execute("-tagged", anew)
	for _, r := range records {
		if r.Status != results.StatusOK || r.Stack.Services[0].Digest != began {
			t.Errorf("repeat %d: %s %s, on %s", r.Cell.Repeat, r.Status, r.Reason, r.Stack.Services[0].Digest)
		}
	}
	stored, _, err := b.store.Run(t.Context(), b.run)
	if err != nil {
		t.Fatal(err)
	}
	b.Images, b.Runtime = stored.Images, b.another()
	if _, err := b.execute(t.Context(), plan); !errors.Is(err, orchestrator.ErrImages) || !strings.Contains(err.Error(), "app/app: was "+began) {
		t.Errorf("resumed: %v", err)
	}
	b.Images = nil

	_, records = execute("-removed", func(began string) {
		anew(began)
		command("", "image", "rm", began)
	})
	if len(records) != 2 || records[0].Status != results.StatusOK || records[1].Status != results.StatusFailed ||
		!strings.Contains(records[1].Reason, "somebody removed the image since the run began") {
		t.Errorf("with its image removed: %+v", records)
	}
}

// TestLoopLearnsImages: what an image is that only a node looks up is in the run's record
// once a stack was started.
func TestLoopLearnsImages(t *testing.T) {
	b := newLaptop(t)
	b.runtime.start = func(context.Context, string, int) error {
		b.runtime.digest = "sha256:1"
		return nil
	}
	if _, err := b.execute(t.Context(), b.plan("")); err != nil {
		t.Fatal(err)
	}
	run, _, err := b.store.Run(t.Context(), "run")
	want := map[string]string{"small/app": "sha256:1", "large/app": "sha256:1"}
	if err != nil || !maps.Equal(run.Images, want) {
		t.Errorf("%v, %v; want %v", run.Images, err, want)
	}
}
