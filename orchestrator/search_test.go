package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

// searched is a search among four topologies that answer after 1, 4, 8 and 16 ms.
func searched(t *testing.T, search string) (*laptop, scenarios.Plan) {
	b := newLaptop(t)
	takes := map[string]time.Duration{"quick": time.Millisecond, "good": 4 * time.Millisecond, "slow": 8 * time.Millisecond, "slowest": 16 * time.Millisecond}
	b.runtime.server = func(topology string) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) { time.Sleep(takes[topology]) }
	}
	s, err := scenarios.Loader{Servers: servers.Known(), Figures: results.Vocabulary()}.Parse("test.yaml", []byte(search+`
name: test
app: {image: example/app, ready: {timeout: 2s}}
topologies:
  - {name: slow, command: [a]}
  - {name: quick, command: [b]}
  - {name: slowest, command: [c]}
  - {name: good, command: [d]}
matrix: {requests: [60], client: [mt], pool: [2]}
warmup: 1
`))
	if err != nil {
		t.Fatal(err)
	}
	return b, s.Plan()
}

// answer is what the records in the store say.
func (b *laptop) answer(p scenarios.Plan) results.Answer {
	b.t.Helper()
	run, records, err := b.store.Run(b.t.Context(), "run")
	if err != nil {
		b.t.Fatal(err)
	}
	run.Plan, run.Outcome = p, results.OutcomeOK
	return words.SearchOf(run, records).Answers[0]
}

// once checks that no cell of a round was measured twice, and returns how many were.
func (b *laptop) once() int {
	b.t.Helper()
	seen := map[string]int{}
	for _, e := range b.events {
		if e.Kind == orchestrator.EventResult && e.Status == results.StatusOK {
			key := fmt.Sprintf("%s#%d", e.Cell, e.Repeat)
			if seen[key]++; seen[key] > 1 {
				b.t.Errorf("%s was measured %d times", key, seen[key])
			}
		}
	}
	return len(seen)
}

func TestSearchFindsTheFastest(t *testing.T) {
	b, p := searched(t, "search: {within: 5%}\n")
	records, err := b.execute(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	a := b.answer(p)
	if a.Topology != "quick" || !a.Decided || a.Sure < 0.95 || a.Load != "mt2/n60" {
		t.Errorf("%+v", a)
	}
	short := 0
	for name, r := range records {
		if r.Status != results.StatusOK || r.Replies != r.Cell.Load.Requests {
			t.Errorf("%s: %s %s, %d replies", name, r.Status, r.Reason, r.Replies)
		}
		if r.Cell.Load.Of > 0 {
			short++
		}
	}
	if n := b.once(); n != len(records) || short == 0 || short == n {
		t.Errorf("%d measured, %d records, %d of them short", n, len(records), short)
	}
	// It may be known that good is not better before it is known to be worse. Whoever is out
	// was said to be.
	stored, all, err := b.store.Run(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	stored.Plan = p
	for _, c := range words.SearchOf(stored, all).Contests[0].Candidates {
		told := slices.ContainsFunc(b.events, func(e orchestrator.Event) bool {
			return e.Kind == orchestrator.EventLeft && e.Topology == c.Topology
		})
		settled := c.Topology == "quick" || c.Topology == "good" && c.State == race.StateSettled
		if settled && c.State != race.StateSettled || !settled && c.State != race.StateLeft || told == settled {
			t.Errorf("%s is %s, and said to be out: %v", c.Topology, c.State, told)
		}
	}
	if !b.said("4 in the race") {
		t.Error("nobody was told who is in the race")
	}
	run, err := b.store.ByID(t.Context(), "run")
	if err != nil || run.Planned != len(records) || run.Counts.Missing() != 0 {
		t.Errorf("%d planned of %d (%v)", run.Planned, len(records), err)
	}
}

// TestSearchResumes: a search that is cut off again and again goes on with what it knows,
// measures nothing twice, and comes to the same answer.
func TestSearchResumes(t *testing.T) {
	b, p := searched(t, "search: {within: 20%}\n")
	end := errors.New("cut off")
	cut := 0
	for cut < 3 {
		ctx, cancel := context.WithCancelCause(t.Context())
		results := 0
		b.onEvent = func(e orchestrator.Event) {
			if e.Kind == orchestrator.EventResult {
				results++
			}
			if results == 3 && e.Kind == orchestrator.EventCell {
				cancel(end)
			}
		}
		_, err := b.execute(ctx, p)
		cancel(nil)
		if err == nil {
			break
		}
		if !errors.Is(err, end) {
			t.Fatal(err)
		}
		cut++
	}
	b.onEvent = nil
	records, err := b.execute(t.Context(), p)
	if err != nil || cut != 3 {
		t.Fatalf("cut off %d times, %v", cut, err)
	}
	if a := b.answer(p); a.Topology != "quick" || !a.Decided {
		t.Errorf("%+v", a)
	}
	if n := b.once(); n != len(records) {
		t.Errorf("%d measured, %d records", n, len(records))
	}
	b.events = nil
	if _, err := b.execute(t.Context(), p); err != nil || b.count(orchestrator.EventCell) != 0 || b.count(orchestrator.EventLeft) != 0 {
		t.Errorf("a search that has ended measured %d cells and told of %d, %v", b.count(orchestrator.EventCell), b.count(orchestrator.EventLeft), err)
	}
}

// TestSearchTime: what the run took before it was resumed is not left, and a search whose
// time is up measures nothing.
func TestSearchTime(t *testing.T) {
	b, p := searched(t, "search: {time: 1m}\n")
	var left []time.Duration
	b.Strategy = func(s strategy.Strategy) strategy.Strategy { return clock{s, &left} }
	if err := b.store.Spent(t.Context(), "run", results.PhaseMeasure, 61*time.Second); err != nil {
		t.Fatal(err)
	}
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) != 0 || len(left) == 0 || left[0] > -time.Second {
		t.Errorf("%d records, %v left, %v", len(records), left, err)
	}
	if a := b.answer(p); a.Topology != "" || a.Decided || a.Sure != 0 {
		t.Errorf("%+v", a)
	}
}

// A clock notes the time that is left.
type clock struct {
	strategy.Strategy
	left *[]time.Duration
}

func (c clock) Next(free strategy.Capacity) (strategy.Step, bool) {
	*c.left = append(*c.left, *free.Left)
	return c.Strategy.Next(free)
}

// TestSearchWithout: a candidate whose stack never starts is no answer, and the others are
// judged without it.
func TestSearchWithout(t *testing.T) {
	b, p := searched(t, "search: {within: 20%}\n")
	b.runtime.start = func(_ context.Context, topology string, _ int) error {
		if topology == "quick" {
			return errors.New("no such program")
		}
		return nil
	}
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	a := b.answer(p)
	if a.Topology != "good" || !a.Decided {
		t.Errorf("%+v", a)
	}
	failed := 0
	for _, e := range b.events {
		if e.Kind == orchestrator.EventLeft && e.Topology == "quick" && e.Status == results.StatusFailed {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("it was said %d times that a stack did not start", failed)
	}
}

// TestSearchReuses: a search that is given the rounds of another one comes to its answer
// without measuring them again, and marks them; with some of them it measures the rest.
func TestSearchReuses(t *testing.T) {
	b, p := searched(t, "search: {within: 20%}\n")
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	want := b.answer(p)
	_, made, err := b.store.Run(t.Context(), "run")
	if err != nil {
		t.Fatal(err)
	}
	for name, keep := range map[string]int{"all": len(made), "the first rounds": len(made) / 2} {
		t.Run(name, func(t *testing.T) {
			again, p := searched(t, "search: {within: 20%}\n")
			again.Reuse = func(_ context.Context, _ map[string]string, wanted []results.Record) ([]results.Record, error) {
				if len(wanted) != 4 {
					t.Errorf("%d are wanted, want each of 4 candidates", len(wanted))
				}
				var found []results.Record
				for _, r := range made[:keep] {
					if !slices.ContainsFunc(wanted, func(w results.Record) bool { return w.Fingerprint == r.Fingerprint && r.Fingerprint != "" }) {
						t.Errorf("%s is not wanted", r.Cell.Name)
					}
					r.Run = "before"
					found = append(found, r)
				}
				return found, nil
			}
			records, err := again.execute(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if a := again.answer(p); a.Topology != want.Topology || !a.Decided {
				t.Errorf("%+v, want %+v", a, want)
			}
			reused := 0
			for _, r := range records {
				if r.Reused == "before" && slices.Contains(r.Flags, results.FlagReused) && r.Run == "run" {
					reused++
				}
			}
			if n := again.count(orchestrator.EventCell); reused != keep || n != len(records)-keep || (keep == len(made)) != (n == 0) {
				t.Errorf("%d of %d are reused, and %d were measured, want %d reused", reused, len(records), n, keep)
			}
			if !again.said("reused from run before of ") {
				t.Error("it is not said")
			}
		})
	}
}
