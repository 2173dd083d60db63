package stacks

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// urlStack is a stack that runs at a URL.
type urlStack struct {
	Stack
	url string
}

func (s urlStack) URL() string                 { return s.url }
func (s urlStack) Check(context.Context) error { return nil }

// answering is the URL of a server that answers every request with a status.
func answering(t *testing.T, status int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestThreat8RedirectedProbe: an app that redirects its probe is not ready, and
// the server that it points to is not asked.
func TestThreat8RedirectedProbe(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusForbidden} {
		var asked atomic.Int64
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(status)
			w.Write([]byte("of the operator's network"))
		}))
		defer other.Close()
		ctx, enough := context.WithCancel(t.Context())
		var probes atomic.Int64
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if probes.Add(1) == 2 {
				enough()
			}
			http.Redirect(w, req, other.URL+"/private", http.StatusFound)
		}))
		defer app.Close()
		var spec Spec
		spec.Ready.Path, spec.Ready.Timeout = "/healthz", time.Minute
		err := WaitReady(ctx, spec, urlStack{placed{}, app.URL})
		enough()
		if err == nil || !strings.Contains(err.Error(), "302 Found") || !strings.Contains(err.Error(), "a redirect is not followed") {
			t.Errorf("%v, want an error that tells of the redirect", err)
		}
		if err != nil && strings.Contains(err.Error(), "of the operator's network") {
			t.Errorf("the error has the other server's answer: %v", err)
		}
		if n := asked.Load(); n > 0 {
			t.Errorf("the other server was asked %d times", n)
		}
	}
}
