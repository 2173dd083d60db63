//go:build linux

package native

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// drawing is a request that draws one of seven small images.
func drawing() scenarios.Request {
	return scenarios.Request{
		Method: "POST", Path: "/", Pick: scenarios.PickRandom, Timeout: 10 * time.Second,
		Body: &scenarios.Body{Generate: &scenarios.Generate{Kind: "jpeg", Width: 16, Height: 16, Count: 7, Seed: 1}},
	}
}

func TestDrawnPayloads(t *testing.T) {
	payloads, err := load.ReadPayloads(drawing())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []int
	url, _ := startHTTP(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, slices.IndexFunc(payloads, func(p load.Content) bool { return sha256.Sum256(p.Data) == sha256.Sum256(body) }))
	})
	// Fewer requests than payloads are drawn from all of them, too.
	for _, n := range []int{5, 100} {
		var want []int
		for i := range n {
			want = append(want, load.Drawn(9, i, 7))
		}
		for name, l := range modes(n, true) {
			got = nil
			if r := mustFire(t, &Client{}, load.Job{URL: url, Request: drawing(), Load: l, Seed: 9}); r.Replies != n {
				t.Fatalf("%s: %d replies: %v", name, r.Replies, r.FirstErrors)
			}
			expected := slices.Clone(want)
			if name != "single" { // there the order is known as well
				slices.Sort(got)
				slices.Sort(expected)
			}
			if !slices.Equal(got, expected) {
				t.Errorf("%s of %d: drawn %v, want %v", name, n, got, expected)
			}
		}
	}
}

// TestFault25TooManyErrorsStopTheLoad: with more errors than the request allows
// no other request is sent, in every mode; what was finished is counted.
func TestFault25TooManyErrorsStopTheLoad(t *testing.T) {
	const requests, allowed = 300, 6
	url, _ := startHTTP(t, everyThirdFails())
	request := get("/")
	loads := modes(requests, false)
	loads["open"] = scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientOpen, Pool: 4, Rate: 2000}
	loads["open-max"] = scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientOpen, Pool: 4}
	for name, l := range loads {
		request.MaxErrors = &scenarios.ErrorLimit{Count: allowed}
		r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l})
		// Those under way when the limit is passed are finished.
		if r.Errors <= allowed || r.Errors > allowed+l.Pool || r.ErrorKinds[load.ErrStatus] != r.Errors {
			t.Errorf("%s: %d errors, with a limit of %d: %v", name, r.Errors, allowed, r.ErrorKinds)
		}
		if r.Replies == 0 || r.Replies+r.Errors > 5*allowed || r.Latency.Count() != int64(r.Replies) {
			t.Errorf("%s: %d replies beside %d errors, %d latencies", name, r.Replies, r.Errors, r.Latency.Count())
		}
		request.MaxErrors = &scenarios.ErrorLimit{Percent: 50}
		if r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l}); r.Replies+r.Errors != requests {
			t.Errorf("%s: %d replies and %d errors below the limit", name, r.Replies, r.Errors)
		}
	}
}

// everyThirdFails answers one request in three with a status that is not
// expected.
func everyThirdFails() http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
}

// TestDifferingAnswersNameTheFile: of two answers to one file that differ, the
// message has the file's name.
func TestDifferingAnswersNameTheFile(t *testing.T) {
	var answers atomic.Int64
	url, _ := startHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "steady" {
			fmt.Fprint(w, "as ever")
			return
		}
		fmt.Fprint(w, answers.Add(1))
	})
	folder := t.TempDir()
	request := get("/")
	request.Method, request.Expect.BodyDigest, request.Body = "POST", scenarios.DigestSame, &scenarios.Body{}
	for _, name := range []string{"steady", "fickle"} {
		file := filepath.Join(folder, name+".txt")
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		request.Body.Files = append(request.Body.Files, file)
	}
	for mode, l := range modes(6, false) {
		r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l})
		if r.Replies < 3 || !strings.HasPrefix(r.FirstErrors[load.ErrMismatch], "the answer to the same request (fickle.txt) differs from an earlier one") {
			t.Errorf("%s: %d replies, %v", mode, r.Replies, r.FirstErrors)
		}
	}
}
