package verdict

import (
	"testing"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

// untilPlan is a plan of two topologies with two cells each, up to 8 repeats.
func untilPlan(t *testing.T, until string) scenarios.Plan {
	t.Helper()
	s, err := scenarios.Loader{Servers: servers.Known()}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app, wsgi: wsgi:app}
topologies: [flask, gunicorn w1/t2]
matrix: {requests: [10], client: [single, mt], pool: [2]}
order: listed
repeats: `+until))
	if err != nil {
		t.Fatal(err)
	}
	return s.Plan()
}

// made are the records of the plan's first repeats, all of a topology or of
// all of them (""), whose durations the function gives.
func made(p scenarios.Plan, topology string, repeats int, duration func(repeat, cell int) float64) []results.Record {
	var records []results.Record
	for _, trial := range p.Trials {
		for i, cell := range trial.Cells {
			if (topology == "" || trial.Topology.Name == topology) && trial.Repeat <= repeats {
				d := duration(trial.Repeat, i)
				records = append(records, results.Record{Topology: trial.Topology, Cell: cell, Status: results.StatusOK, Duration: &d})
			}
		}
	}
	return records
}

func TestRepeatsUntil(t *testing.T) {
	if scenarios.IntervalRepeats != stats.RepeatsForInterval() {
		t.Errorf("scenarios counts on %d repeats for an interval, which takes %d", scenarios.IntervalRepeats, stats.RepeatsForInterval())
	}
	steady := func(repeat, _ int) float64 { return 10 + 0.1*float64(repeat%2) }
	noisy := func(repeat, cell int) float64 { return 10 + float64(cell*repeat) }
	p := untilPlan(t, "{min: 2, max: 8, until: 5%}")
	for _, test := range []struct {
		name     string
		plan     scenarios.Plan
		records  []results.Record
		needed   []int // trials of flask that are, by repeat
		needless int   // cells
		how      string
		repeats  int
	}{
		{"nothing measured yet", p, nil, []int{1, 2, 3, 4, 5, 6, 7, 8}, 0, endNone, 0},
		{"five are too few for an interval", p, made(p, "flask", 5, steady), []int{1, 2, 3, 4, 5, 6}, 0, endNone, 5},
		{"six that agree", p, made(p, "flask", 6, steady), []int{1, 2, 3, 4, 5, 6}, 4, EndWithin, 6},
		{"one of two cells does not", p, made(p, "flask", 6, noisy), []int{1, 2, 3, 4, 5, 6, 7}, 0, endNone, 6},
		{"up to the maximum", p, made(p, "flask", 8, noisy), []int{1, 2, 3, 4, 5, 6, 7, 8}, 0, EndMaximum, 8},
		{"a minimum above what an interval takes", untilPlan(t, "{min: 7, max: 8, until: 5%}"), made(p, "flask", 6, steady), []int{1, 2, 3, 4, 5, 6, 7}, 0, endNone, 6},
		{"a plain number", untilPlan(t, "8"), made(p, "flask", 6, steady), []int{1, 2, 3, 4, 5, 6, 7, 8}, 0, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := NewRepeats(test.plan, test.records)
			var needed []int
			for _, trial := range test.plan.Trials {
				is := r.Needed(trial)
				if trial.Topology.Name == "flask" {
					// What has not been measured is needed as far as is known.
					if known := trial.Repeat <= test.repeats+1; is && (known || test.repeats == 0) {
						needed = append(needed, trial.Repeat)
					}
				} else if !is {
					t.Errorf("%s, repeat %d is not needed, and was never measured", trial.Topology.Name, trial.Repeat)
				}
			}
			if len(needed) != len(test.needed) {
				t.Errorf("needed: %v, want %v", needed, test.needed)
			}
			ends := r.Ends()
			needless := 0
			for _, end := range ends {
				needless += end.Needless
			}
			if needless != test.needless {
				t.Errorf("%d cells are needless, want %d", needless, test.needless)
			}
			if test.plan.Until == nil {
				if ends != nil {
					t.Errorf("ends %v of a plan that has none", ends)
				}
				return
			}
			if end := ends[0]; end.Topology != "flask" || end.How != test.how || end.Repeats != test.repeats {
				t.Errorf("%+v, want %q after %d", end, test.how, test.repeats)
			}
		})
	}
}

// TestRepeatsOfATrialThatWasCutShort: of a trial whose first cell is recorded
// already, the rest is needed although it would not be by itself.
func TestRepeatsOfATrialThatWasCutShort(t *testing.T) {
	p := untilPlan(t, "{min: 2, max: 8, until: 5%}")
	records := made(p, "flask", 6, func(repeat, cell int) float64 { return 10 + float64((1-cell)*repeat) })
	seventh := p.Trials[12] // flask again
	rest := seventh
	rest.Cells = seventh.Cells[1:] // whose six durations are all the same
	d := 10.0
	records = append(records, results.Record{Topology: seventh.Topology, Cell: seventh.Cells[0], Status: results.StatusOK, Duration: &d})
	if r := NewRepeats(p, records); seventh.Repeat != 7 || !r.Needed(rest) {
		t.Error("the second cell of the seventh repeat is left out, and the first one is there")
	}
}

func TestRepeatsThatFail(t *testing.T) {
	p := untilPlan(t, "{min: 2, max: 8, until: 5%}")
	records := made(p, "flask", 2, func(int, int) float64 { return 1 })
	for i := range records {
		records[i].Status, records[i].Duration = results.StatusFailed, nil
	}
	r := NewRepeats(p, records)
	if r.Needed(p.Trials[4]) || r.Ends()[0].How != endFailing {
		t.Errorf("after two failures out of two: needed %v, %+v", r.Needed(p.Trials[4]), r.Ends()[0])
	}
	// A retry that works is a record in the place of the failed one.
	again := made(p, "flask", 1, func(int, int) float64 { return 1 })
	for _, record := range again {
		r.Add(record)
	}
	if !r.Needed(p.Trials[4]) {
		t.Error("one repeat is ok now, and no more are needed")
	}
}
