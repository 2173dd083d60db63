package verdict

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
)

func flask() scenarios.Topology {
	return scenarios.Topology{Name: "flask", Server: "flask"}
}

func gunicorn(name string, nginx bool, workers, threads int) scenarios.Topology {
	return scenarios.Topology{
		Name: name, Server: "gunicorn", Proxy: map[bool]string{true: "nginx"}[nginx], Workers: workers, Threads: threads,
	}
}

func single(requests int) scenarios.LoadSpec {
	return scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientSingle, Pool: 1}
}

func pooled(client string, pool, requests int) scenarios.LoadSpec {
	return scenarios.LoadSpec{Requests: requests, Client: client, Pool: pool}
}

// ok is a clean record; MiB below 0 stands for a memory that was not measured.
func ok(t scenarios.Topology, l scenarios.LoadSpec, repeat int, duration float64, mib int64) results.Record {
	r := results.Record{
		Topology: t,
		Cell:     scenarios.Cell{Name: t.Name + "/" + l.Name(), Repeat: repeat, Load: l},
		Status:   results.StatusOK,
		Duration: &duration,
		Replies:  l.Requests,
	}
	if mib >= 0 {
		bytes := mib << 20
		r.Memory.Peak = &bytes
	}
	return r
}

func onGPU(r results.Record, mib int64) results.Record {
	bytes := mib << 20
	r.GPU.Peak = &bytes
	return r
}

func withErrors(r results.Record, errors int) results.Record {
	r.Errors, r.Replies = errors, r.Replies-errors
	r.Flags = []string{results.FlagErrors}
	return r
}

func failed(t scenarios.Topology, l scenarios.LoadSpec, repeat int, reason string) results.Record {
	return results.Record{
		Topology: t,
		Cell:     scenarios.Cell{Name: t.Name + "/" + l.Name(), Repeat: repeat, Load: l},
		Status:   results.StatusFailed,
		Reason:   reason,
	}
}

func TestSummarise(t *testing.T) {
	load := pooled("mt", 5, 100)
	for _, test := range []struct {
		name         string
		records      []results.Record
		ok, failed   int
		duration     []float64
		memory       []float64
		clean        bool
		flags        []string
		failureCount int
	}{
		{
			name:     "three clean repeats",
			records:  []results.Record{ok(flask(), load, 3, 12, 30), ok(flask(), load, 1, 10, 10), ok(flask(), load, 2, 11, 20)},
			ok:       3,
			duration: []float64{10, 11, 12},
			memory:   []float64{10 << 20, 20 << 20, 30 << 20},
			clean:    true,
		},
		{
			name:    "a failed repeat has no say",
			records: []results.Record{ok(flask(), load, 1, 10, -1), failed(flask(), load, 2, "oom")},
			ok:      1, failed: 1,
			duration:     []float64{10},
			failureCount: 1,
		},
		{
			name:     "a repeat with errors has no say beside a clean one",
			records:  []results.Record{ok(flask(), load, 1, 10, -1), withErrors(ok(flask(), load, 2, 1, -1), 99)},
			ok:       2,
			duration: []float64{10},
			flags:    []string{results.FlagErrors, FlagErrorsDiffer},
		},
		{
			name:     "with errors in every repeat the figure stays and is flagged",
			records:  []results.Record{withErrors(ok(flask(), load, 1, 1, -1), 99)},
			ok:       1,
			duration: []float64{1},
			flags:    []string{results.FlagErrors},
		},
		{
			name:         "all failed",
			records:      []results.Record{failed(flask(), load, 1, "never ready")},
			failed:       1,
			failureCount: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			summaries := Summarise(test.records)
			if len(summaries) != 1 {
				t.Fatalf("%d summaries, want 1", len(summaries))
			}
			s := summaries[0]
			if s.OK != test.ok || s.Failed != test.failed || s.Clean() != test.clean || len(s.Failures) != test.failureCount {
				t.Errorf("ok %d, failed %d, clean %v, failures %d; want %d, %d, %v, %d",
					s.OK, s.Failed, s.Clean(), len(s.Failures), test.ok, test.failed, test.clean, test.failureCount)
			}
			equalSamples(t, "duration", s.Duration, test.duration)
			equalSamples(t, "memory", s.MainPeak, test.memory)
			if !slices.Equal(s.Flags, test.flags) {
				t.Errorf("flags %v, want %v", s.Flags, test.flags)
			}
		})
	}
}

func equalSamples(t *testing.T, what string, got *stats.Sample, want []float64) {
	t.Helper()
	if !reflect.DeepEqual(got, stats.NewSample(want)) {
		t.Errorf("%s = %+v, want that of %v", what, got, want)
	}
}

func TestMemoryKind(t *testing.T) {
	none := Summarise([]results.Record{ok(flask(), single(1), 1, 1, 5)})
	if got := MemoryKind(none); got != results.MemoryMain {
		t.Errorf("without a GPU: %s", got)
	}
	some := Summarise([]results.Record{
		ok(flask(), single(1), 1, 1, 5), onGPU(ok(flask(), pooled("mt", 2, 1), 1, 1, 5), 3000),
	})
	if got := MemoryKind(some); got != results.MemoryGPU {
		t.Errorf("with a GPU: %s", got)
	}
	if some[0].Peak(results.MemoryGPU) != nil {
		t.Error("a cell without a measurement of the GPU got its main memory instead")
	}
}

func TestOrder(t *testing.T) {
	command := func(name string, threads int) scenarios.Topology {
		return scenarios.Topology{Name: name, Server: scenarios.ServerCommand, Threads: threads}
	}
	records := []results.Record{
		ok(command("waitress-16", 0), single(10), 1, 1, -1),
		ok(command("waitress-4", 0), single(10), 1, 1, -1),
		ok(gunicorn("nginx+gunicorn-w1-t4", true, 1, 4), single(10), 1, 1, -1),
		ok(gunicorn("gunicorn-w10-t1", false, 10, 1), single(10), 1, 1, -1),
		ok(gunicorn("gunicorn-w2-t1", false, 2, 1), single(10), 1, 1, -1),
		ok(flask(), single(10), 1, 1, -1),
		ok(flask(), pooled("mt", 10, 10), 1, 1, -1),
		ok(flask(), pooled("mt", 5, 10), 1, 1, -1),
		ok(flask(), pooled("mp", 20, 10), 1, 1, -1),
		ok(flask(), single(2), 1, 1, -1),
	}
	want := []string{
		"flask/single/n2",
		"flask/single/n10", "flask/mp20/n10", "flask/mt5/n10", "flask/mt10/n10",
		"gunicorn-w2-t1/single/n10", "gunicorn-w10-t1/single/n10", "nginx+gunicorn-w1-t4/single/n10",
		"waitress-4/single/n10", "waitress-16/single/n10",
	}
	for range 2 { // whatever the order of the records
		var got []string
		for _, s := range Summarise(records) {
			got = append(got, s.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("order\n%v, want\n%v", got, want)
		}
		slices.Reverse(records)
	}
}

func TestRatios(t *testing.T) {
	summaries := Summarise([]results.Record{
		ok(flask(), single(100), 1, 20, 100), ok(flask(), pooled("mt", 5, 100), 1, 15, 150),
		failed(flask(), single(10), 1, "x"), ok(flask(), pooled("mt", 5, 10), 1, 2, 50),
	})
	baselines := FindBaselines(summaries, scenarios.Plan{})
	for _, s := range summaries {
		ratio, peak, saved := baselines.Ratio(s, results.Metric(results.MetricDuration)).Ratio, baselines.Ratio(s, results.Metric(results.MetricMemoryPeak)).Ratio, baselines.Saved(s)
		switch s.Name() {
		case "flask/mt5/n100":
			if math.Abs(*ratio-0.75) > 1e-12 || math.Abs(*peak-1.5) > 1e-12 || *saved != 5 {
				t.Errorf("%s: ratio %v, memory %v, saved %v; want 0.75, 1.5, 5", s.Name(), *ratio, *peak, *saved)
			}
		case "flask/mt5/n10":
			if ratio != nil || peak != nil || saved != nil {
				t.Errorf("%s: a failed baseline gave a ratio", s.Name())
			}
		}
	}
}

func TestPivots(t *testing.T) {
	w := gunicorn("gunicorn-w1-t1", false, 1, 1)
	grid := func(topologies []scenarios.Topology, loads []scenarios.LoadSpec) []Summary {
		var records []results.Record
		for _, topology := range topologies {
			for _, l := range loads {
				records = append(records, ok(topology, l, 1, 1, -1))
			}
		}
		return Summarise(records)
	}
	zip := []scenarios.LoadSpec{
		single(10), pooled("mp", 2, 10), pooled("mt", 2, 10),
		single(100), pooled("mp", 5, 100), pooled("mt", 5, 100),
	}
	type shape struct {
		requests int
		topology string
		head     []string
		columns  []string
		labels   [][]string
	}
	for _, test := range []struct {
		name      string
		summaries []Summary
		want      []shape
	}{
		{"topologies down", grid([]scenarios.Topology{flask(), w}, []scenarios.LoadSpec{single(100), pooled("mt", 5, 100)}),
			[]shape{{100, "", []string{"topology"}, []string{"single", "mt5"}, [][]string{{"flask"}, {"gunicorn-w1-t1"}}}}},
		{"more loads than topologies: loads down", grid([]scenarios.Topology{flask()}, []scenarios.LoadSpec{single(100), pooled("mt", 5, 100)}),
			[]shape{{100, "", []string{"load"}, []string{"flask"}, [][]string{{"single"}, {"mt5"}}}}},
		{"a zip of one topology: requests down", grid([]scenarios.Topology{flask()}, zip),
			[]shape{{0, "flask", []string{"requests", "pool"}, []string{"single", "mp", "mt"}, [][]string{{"10", "2"}, {"100", "5"}}}}},
		{"a zip of as many topologies: by number of requests", grid([]scenarios.Topology{flask(), w}, zip),
			[]shape{
				{10, "", []string{"load"}, []string{"flask", "gunicorn-w1-t1"}, [][]string{{"single"}, {"mp2"}, {"mt2"}}},
				{100, "", []string{"load"}, []string{"flask", "gunicorn-w1-t1"}, [][]string{{"single"}, {"mp5"}, {"mt5"}}},
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pivots := Pivots(test.summaries)
			if len(pivots) != len(test.want) {
				t.Fatalf("%d pivots, want %d", len(pivots), len(test.want))
			}
			for i, want := range test.want {
				got := pivots[i]
				if got.Requests != want.requests || got.Topology != want.topology ||
					!slices.Equal(got.Head, want.head) || !slices.Equal(got.Columns, want.columns) {
					t.Errorf("pivot %d is %+v, want %+v", i, got, want)
				}
				for j, row := range got.Rows {
					if !slices.Equal(row.Labels, want.labels[j]) {
						t.Errorf("row %d is %v, want %v", j, row.Labels, want.labels[j])
					}
					for k, cell := range row.Cells {
						if cell == nil {
							t.Errorf("row %v column %s is empty", row.Labels, got.Columns[k])
						}
					}
				}
			}
		})
	}
	t.Run("a cell that does not exist is nil", func(t *testing.T) {
		pivot := Pivots(Summarise([]results.Record{
			ok(flask(), single(10), 1, 1, -1), ok(w, pooled("mt", 2, 10), 1, 1, -1),
		}))[0]
		if pivot.Rows[0].Cells[1] != nil || pivot.Rows[1].Cells[0] != nil || pivot.Rows[1].Cells[1] == nil {
			t.Errorf("pivot = %+v", pivot)
		}
	})
}

func TestConclude(t *testing.T) {
	t4 := gunicorn("gunicorn-w1-t4", false, 1, 4)
	t6 := gunicorn("gunicorn-w1-t6", false, 1, 6)
	// The published conclusion, with conditions beside it that have no place in it.
	published := []results.Record{
		ok(flask(), single(100), 1, 29.6049, 3137),
		ok(t4, pooled("mt", 5, 100), 1, 18.7895, 4481),
		ok(t4, pooled("mt", 10, 100), 1, 18.5023, 4481),
		ok(t6, pooled("mt", 10, 100), 1, 18.064, 4824),
	}
	for _, test := range []struct {
		name       string
		records    []results.Record
		want       []string
		excluded   int
		unmeasured int
	}{
		{"as published", published,
			[]string{"flask/single", "gunicorn-w1-t4/mt5", "gunicorn-w1-t4/mt10", "gunicorn-w1-t6/mt10"}, 0, 0},
		{"what is dominated by more than the measurement's own differences", append(slices.Clone(published),
			ok(t4, pooled("mp", 10, 100), 1, 18.5791, 4669), ok(t4, pooled("mp", 5, 100), 1, 19.0741, 4481)),
			[]string{"flask/single", "gunicorn-w1-t4/mt5", "gunicorn-w1-t4/mt10", "gunicorn-w1-t6/mt10"}, 0, 0},
		{"errors and failures are never worth having", append(slices.Clone(published),
			withErrors(ok(flask(), pooled("mp", 5, 100), 1, 1, 1), 1), failed(flask(), pooled("mp", 6, 100), 1, "x"),
			ok(flask(), pooled("mp", 7, 100), 1, 1, 1), failed(flask(), pooled("mp", 7, 100), 2, "x")),
			[]string{"flask/single", "gunicorn-w1-t4/mt5", "gunicorn-w1-t4/mt10", "gunicorn-w1-t6/mt10"}, 3, 0},
		{"only the largest number of requests", append(slices.Clone(published), ok(flask(), single(10), 1, 3, 1)),
			[]string{"flask/single", "gunicorn-w1-t4/mt5", "gunicorn-w1-t4/mt10", "gunicorn-w1-t6/mt10"}, 0, 0},
		{"no memory known: the fastest", []results.Record{
			ok(flask(), single(100), 1, 29, -1), ok(t4, pooled("mt", 5, 100), 1, 18, -1), ok(t6, pooled("mt", 5, 100), 1, 19, -1)},
			[]string{"flask/single", "gunicorn-w1-t4/mt5"}, 0, 0},
		{"memory known of some: the others cannot be placed", append(slices.Clone(published), ok(t6, pooled("mt", 20, 100), 1, 1, -1)),
			[]string{"flask/single", "gunicorn-w1-t4/mt5", "gunicorn-w1-t4/mt10", "gunicorn-w1-t6/mt10"}, 0, 1},
		{"a failed baseline is still listed first", []results.Record{
			failed(flask(), single(100), 1, "x"), ok(t4, pooled("mt", 5, 100), 1, 18, 4)},
			[]string{"flask/single", "gunicorn-w1-t4/mt5"}, 1, 0},
		{"nothing at all", nil, nil, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			conclusion := Conclude(Summarise(test.records), scenarios.Plan{})
			var got []string
			for i, c := range conclusion.Conditions {
				got = append(got, c.Summary.Condition())
				if c.Baseline != (i == 0) {
					t.Errorf("%s: baseline %v", c.Summary.Condition(), c.Baseline)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("conditions %v, want %v", got, test.want)
			}
			if conclusion.Excluded != test.excluded || conclusion.Unmeasured != test.unmeasured {
				t.Errorf("excluded %d, unmeasured %d; want %d, %d",
					conclusion.Excluded, conclusion.Unmeasured, test.excluded, test.unmeasured)
			}
		})
	}
	conditions := Conclude(Summarise(published), scenarios.Plan{}).Conditions
	// The third ratio is 62.497 and was published as 62.49.
	for i, want := range []struct{ saved, ratio float64 }{{0, 100}, {10.8154, 63.47}, {11.1026, 62.49}, {11.5409, 61.02}} {
		got := conditions[i]
		if math.Abs(100**got.Ratio.Ratio-want.ratio) > 0.0075 || math.Abs(*got.Saved-want.saved) > 1e-4 {
			t.Errorf("%s: ratio %.4f, saved %.4f; published %.2f, %.4f", got.Summary.Condition(), 100**got.Ratio.Ratio, *got.Saved, want.ratio, want.saved)
		}
	}
}

// TestPrunedIsNotOK: a pruned cell is counted by itself, is no candidate, and
// fails the run, without being a failure.
func TestPrunedIsNotOK(t *testing.T) {
	pruned := failed(flask(), scenarios.LoadSpec{Requests: 100, Client: scenarios.ClientMT, Pool: 5}, 1, "not started")
	pruned.Status = results.StatusPruned
	run := results.Run{Planned: 1}
	records := []results.Record{pruned}
	if c := run.Count(records); c.OK != 0 || c.Failed != 0 || c.Pruned != 1 || c.Bad() != 1 || c.Missing() != 0 {
		t.Errorf("counts %+v", c)
	}
	s := Summarise(records)[0]
	if s.Clean() || s.Whole() || !s.Spared() || s.Failed != 0 || s.Pruned != 1 || len(s.Prunings) != 1 || s.Duration != nil {
		t.Errorf("summary %+v", s)
	}
	if got := Of(run, records, nil, nil); got != results.VerdictFailed {
		t.Errorf("verdict %s", got)
	}
	if r := Recommend(Summarise(records), scenarios.Plan{}, Goal{}); len(r) != 1 || r[0].Best != nil {
		t.Errorf("recommended: %+v", r)
	}
}
