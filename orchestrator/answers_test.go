package orchestrator_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// TestFault25ErrorsAboveTheLimitStopTheLoad: the cell is failed at once, with
// its counts kept; below the limit it is ok, flagged, and never the best one,
// however fast its errors made it.
func TestFault25ErrorsAboveTheLimitStopTheLoad(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	p := b.plan(`
request: {path: /flaky, max_errors: 20%}
warmup: 0
topologies:
  - flask
  - {name: sometimes, server: flask, env: {FLAKY: "6"}}
  - {name: often, server: flask, env: {FLAKY: "2"}}
matrix: {requests: [60], client: [single, mp, mt], pool: [3]}
`)
	records := b.mustExecute(p)
	for _, mode := range []string{"single", "mp3", "mt3"} {
		r := records["often/"+mode+"/n60"]
		if r.Status != results.StatusFailed || !strings.Contains(r.Reason, "the load stopped after ") ||
			!strings.Contains(r.Reason, "request.max_errors allows 20%, which is 12: status ×") {
			t.Errorf("often, %s: %s, %s", mode, r.Status, r.Reason)
		}
		if r.Errors <= 12 || r.Errors > 12+3 || r.Replies == 0 || r.Replies+r.Errors >= 60 ||
			r.ErrorKinds[load.ErrStatus] != r.Errors || r.Latency.Count() != int64(r.Replies) || r.Duration != nil {
			t.Errorf("often, %s: %d replies, %d errors, kinds %v, %d latencies, duration %v",
				mode, r.Replies, r.Errors, r.ErrorKinds, r.Latency.Count(), r.Duration)
		}
		r = records["sometimes/"+mode+"/n60"]
		if r.Status != results.StatusOK || r.Errors != 10 || r.Replies != 50 || r.Duration == nil || !slices.Contains(r.Flags, results.FlagErrors) {
			t.Errorf("sometimes, %s: %s, %d replies, %d errors, flags %v: %s", mode, r.Status, r.Replies, r.Errors, r.Flags, r.Reason)
		}
	}
	_, all, err := b.store.Run(t.Context(), b.run)
	if err != nil {
		t.Fatal(err)
	}
	conclusion := verdict.Conclude(verdict.Summarise(all), scenarios.Plan{})
	if len(conclusion.Conditions) == 0 || conclusion.Excluded != 6 {
		t.Errorf("%d conditions, %d excluded", len(conclusion.Conditions), conclusion.Excluded)
	}
	for _, c := range conclusion.Conditions {
		if c.Summary.Topology.Name != "flask" {
			t.Errorf("%s is recommended, with %d errors", c.Summary.Name(), c.Summary.Errors)
		}
	}
}

// TestAttackErrorsFailACell: a stack that answers some requests with 500 is no
// measurement unless the scenario allows it. All is sent, so that the errors are
// counted.
func TestAttackErrorsFailACell(t *testing.T) {
	for limit, want := range map[string]string{"": results.StatusFailed, ", max_errors: 100%": results.StatusOK} {
		b := newBench(t)
		p := b.plan(`
request: {path: /flaky` + limit + `}
warmup: 0
topologies: [{name: sometimes, server: flask, env: {FLAKY: "6"}}]
matrix: {requests: [30], client: [mt], pool: [2]}
`)
		r := b.mustExecute(p)["sometimes/mt2/n30"]
		if r.Status != want || r.Errors != 5 || r.Replies != 25 || (r.Duration != nil) != (want == results.StatusOK) {
			t.Errorf("%q: %s, %d replies, %d errors, duration %v: %s", limit, r.Status, r.Replies, r.Errors, r.Duration, r.Reason)
		}
	}
}

// TestThreadedAppThatAnswersWronglyIsCaught: the same app is right with one
// thread and wrong with four. Its status is 200 all the while; only what it
// answered the same file with before tells.
func TestThreadedAppThatAnswersWronglyIsCaught(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	records := b.mustExecute(b.plan(`
request:
  path: /racy
  body: {generate: {kind: jpeg, size: 32x32, count: 5, seed: 1}}
  expect: {json: {sha256: '/^[0-9a-f]{64}$/'}, match: sha256, body_digest: same}
warmup: 1
topologies: [gunicorn w1, gunicorn w1/t4]
matrix: {requests: [40], client: [mt], pool: [4]}
`))
	right, wrong := records["gunicorn-w1-t1/mt4/n40"], records["gunicorn-w1-t4/mt4/n40"]
	if right.Status != results.StatusOK || right.Errors != 0 || right.Replies != 40 {
		t.Errorf("one thread: %s, %d replies, %d errors: %s %v", right.Status, right.Replies, right.Errors, right.Reason, right.FirstErrors)
	}
	if wrong.Errors == 0 || wrong.ErrorKinds[load.ErrMismatch] != wrong.Errors || !slices.Contains(wrong.Flags, results.FlagErrors) ||
		!strings.Contains(wrong.FirstErrors[load.ErrMismatch], "differs from an earlier one") {
		t.Errorf("four threads: %s, %d replies, errors %v: %v", wrong.Status, wrong.Replies, wrong.ErrorKinds, wrong.FirstErrors)
	}
}

// TestOpenLoops: rates as an axis, both kinds of arrivals, and a search, on a
// real stack. Drawn arrivals and payloads differ between repeats, and not
// between topologies.
func TestOpenLoops(t *testing.T) {
	b := newBench(t)
	records := b.mustExecute(b.plan(`
request:
  path: /predict
  pick: random
  multipart: {field: file, generate: {kind: jpeg, size: 32x32, count: 5, seed: 1}}
topologies: [gunicorn w1/t2]
matrix:
  requests: [30]
  client: [open]
  rate: [40/s, 80/s]
  arrivals: [constant, poisson]
  include: [{requests: 20, client: open, rate: {search: {p99: 200ms}}}]
`))
	for name, r := range records {
		// A search sends more than it was asked for where that is too few to
		// tell whether a rate is held.
		want := r.Cell.Load.Requests
		if r.Cell.Load.Searches() {
			want = max(want, r.Replies)
		}
		if r.Status != results.StatusOK || r.Errors != 0 || r.Replies != want || r.Duration == nil {
			t.Errorf("%s: %s, %d replies, %v: %s", name, r.Status, r.Replies, r.ErrorKinds, r.Reason)
			continue
		}
		if r.Load.Service == nil || r.Load.Lateness == nil || r.Load.Pickup == nil || r.Load.InFlight == 0 || r.Load.Little != nil {
			t.Errorf("%s: how it was sent is not in the record: %+v", name, r.Load)
		}
		if rate := r.Cell.Load.Rate; rate > 0 && r.Cell.Load.Arrivals == scenarios.ArrivalsConstant {
			// The last of n requests is sent (n-1)/rate after the gun.
			if least := float64(r.Cell.Load.Requests-1) / rate; *r.Duration < least {
				t.Errorf("%s: %v s, faster than its schedule of %v s", name, *r.Duration, least)
			}
		}
	}
	r := records["gunicorn-w1-t2/open-p99-200ms/n20"]
	if r.Load.Search == nil || r.Load.Search.Rate <= 0 || len(r.Load.Search.Probes) < 2 {
		t.Fatalf("the search: %+v", r.Load.Search)
	}
	if text, err := json.Marshal(r.Load.Search); err != nil || !strings.Contains(string(text), `"holds":true`) {
		t.Errorf("the search as JSON: %s, %v", text, err)
	}
}

// TestAnswersThatStream: on real stacks, each event comes as the app sends it, in every
// client mode.
func TestAnswersThatStream(t *testing.T) {
	const events, gap = 10, 0.03 // and a last event
	b := newBench(t)
	records := b.mustExecute(b.plan(fmt.Sprintf(`
request:
  path: /stream?events=%d&gap=%v
  stream: events
  expect: {events: %d, last_event: "[DONE]"}
warmup: 1
topologies: [flask, nginx + gunicorn w1/t4]
matrix:
  requests: [6]
  client: [single, mp, mt]
  pool: [3]
  include: [{requests: 6, client: open, rate: 10/s}]
`, events, gap, events+1)))
	for name, r := range records {
		if r.Status != results.StatusOK || r.Errors != 0 || r.Load.Events == nil || *r.Load.Events != 6*(events+1) {
			t.Errorf("%s: %s, %d errors, events %v: %s %v", name, r.Status, r.Errors, r.Load.Events, r.Reason, r.FirstErrors)
			continue
		}
		first, event, between := r.Load.FirstByte.P50, r.Load.FirstEvent.P50, r.Load.EventGap.P50
		if event < first || event > r.Latency.Percentile(50).Seconds()-gap || between < gap/2 || between > gap+1 {
			t.Errorf("%s: the first byte after %v s, the first event after %v s, %v s between events", name, first, event, between)
		}
	}
}
