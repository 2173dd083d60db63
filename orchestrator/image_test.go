package orchestrator_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/results"
)

// TestFault14ImageThatCannotBeHad: a registry that refuses, one that does not
// know the image, and one that is not there. All of it is known before the
// first stack starts, with the image's name and what to do; the other
// topologies are measured, and their images' digests are in the records.
func TestFault14ImageThatCannotBeHad(t *testing.T) {
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
