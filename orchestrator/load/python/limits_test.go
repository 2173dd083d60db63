package python

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// TestDrawnPayloads: the same ones as with the native client.
func TestDrawnPayloads(t *testing.T) {
	c := local(t)
	request := scenarios.Request{
		Method: "POST", Path: "/", Pick: scenarios.PickRandom, Timeout: 10 * time.Second,
		Body: &scenarios.Body{Generate: &scenarios.Generate{Kind: "jpeg", Width: 16, Height: 16, Count: 7, Seed: 1}},
	}
	payloads, err := load.Payloads(request)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []int
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, slices.IndexFunc(payloads, func(p load.Payload) bool { return string(p.Data) == string(body) }))
	})
	const seed = 1<<63 + 5 // more than a signed number holds
	for _, l := range modes(40, true) {
		got = nil
		mustFire(t, c, load.Job{URL: url, Request: request, Load: l, Seed: seed})
		var want []int
		for i := range l.Requests {
			want = append(want, load.Drawn(seed, i, 7))
		}
		if l.Client != scenarios.ClientSingle { // there the order is known as well
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: drawn %v, want %v", l.Client, got, want)
		}
	}
}

// TestFault25TooManyErrorsStopTheLoad: as with the native client.
func TestFault25TooManyErrorsStopTheLoad(t *testing.T) {
	const requests, allowed = 200, 6
	c := local(t)
	var mu sync.Mutex
	n := 0
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	request := get("/")
	request.MaxErrors = &scenarios.ErrorLimit{Percent: 3}
	for _, l := range modes(requests, true) {
		r := mustFire(t, c, load.Job{URL: url, Request: request, Load: l})
		if r.Errors <= allowed || r.Errors > allowed+l.Pool || r.ErrorKinds[load.ErrStatus] != r.Errors {
			t.Errorf("%s: %d errors, with a limit of %d: %v", l.Client, r.Errors, allowed, r.ErrorKinds)
		}
		if r.Replies == 0 || r.Replies+r.Errors > 5*allowed {
			t.Errorf("%s: %d replies beside %d errors", l.Client, r.Replies, r.Errors)
		}
	}
}
