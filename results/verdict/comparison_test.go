package verdict

import (
	"slices"
	"testing"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/wire"
)

// repeated are the records of one cell with these durations.
func repeated(topology string, durations ...float64) []results.Record {
	var records []results.Record
	spec := scenarios.LoadSpec{Requests: 100, Client: scenarios.ClientMT, Pool: 5}
	for i, d := range durations {
		records = append(records, results.Record{
			Topology: scenarios.Topology{Name: topology, Server: "flask"},
			Cell:     scenarios.Cell{Name: topology + "/" + spec.Name(), Repeat: i + 1, Load: spec},
			Status:   results.StatusOK, Duration: &d, Replies: spec.Requests,
		})
	}
	return records
}

func failing(records []results.Record, repeat int) []results.Record {
	records = slices.Clone(records)
	records[repeat-1].Status, records[repeat-1].Duration, records[repeat-1].Replies = results.StatusFailed, nil, 0
	return records
}

func pruned(records []results.Record) []results.Record {
	records = slices.Clone(records)
	for i := range records {
		records[i].Status, records[i].Duration, records[i].Replies = results.StatusPruned, nil, 0
	}
	return records
}

func TestCompareRunsStates(t *testing.T) {
	other := repeated("g", 1, 1)
	for i := range other {
		other[i].Topology.Workers = 2
	}
	base := slices.Concat(repeated("a", 1, 1), repeated("b", 1, 1), repeated("c", 1), failing(repeated("d", 1, 1), 2),
		failing(repeated("e", 1), 1), repeated("g", 1, 1), repeated("h", 1),
		repeated("i", 1, 1), pruned(repeated("j", 1)), pruned(repeated("k", 1)), pruned(repeated("l", 1)))
	head := slices.Concat(repeated("a", 1, 1), failing(repeated("b", 1, 1), 2), repeated("d", 1, 1), failing(repeated("e", 1), 1),
		repeated("f", 1), other, pruned(repeated("i", 1, 1)), pruned(repeated("j", 1)), repeated("k", 1), failing(repeated("l", 1), 1))
	run := results.Run{Plan: scenarios.Plan{Trials: []scenarios.Trial{{Cells: []scenarios.Cell{{Name: "h/mt5/n100"}}}}}}
	got := map[string]string{}
	for _, cell := range CompareRuns(results.Run{}, run, base, head).Cells {
		got[cell.Name] = cell.State
	}
	for name, want := range map[string]string{
		"a/mt5/n100": CellBoth, "b/mt5/n100": CellNewlyFailing, "c/mt5/n100": CellGone,
		"d/mt5/n100": CellNewlyOK, "e/mt5/n100": CellFailing, "f/mt5/n100": CellNew,
		"g/mt5/n100": CellChanged, "h/mt5/n100": CellMissing,
		"i/mt5/n100": CellNewlyPruned, "j/mt5/n100": CellPruned, "k/mt5/n100": CellNewlyOK, "l/mt5/n100": CellFailing,
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestChange(t *testing.T) {
	duration, err := results.FindMetric(results.MetricDuration)
	if err != nil {
		t.Fatal(err)
	}
	throughput, err := results.FindMetric(results.MetricThroughput)
	if err != nil {
		t.Fatal(err)
	}
	change := func(m results.Figure, base, head []float64) Change {
		return newChange(m, stats.NewSample(base), stats.NewSample(head))
	}
	five, slower := []float64{10, 10.1, 10.2, 10.3, 10.4}, []float64{11, 11.1, 11.2, 11.3, 11.4}
	c := change(duration, five, slower)
	if !c.Worse() || c.Better() || c.Interval == nil || c.Interval.Low <= 0 || c.Interval.High > 0.15 || c.Interval.Confidence < stats.Confidence {
		t.Errorf("10%% slower: %+v %+v", c, c.Interval)
	}
	if c := change(throughput, five, slower); c.Worse() || !c.Better() {
		t.Errorf("10%% more throughput: %+v", c)
	}
	if c := change(duration, five, five); c.Worse() || c.Better() || c.Needs != 0 || c.Interval == nil || c.Interval.Low > 0 || c.Interval.High < 0 {
		t.Errorf("no change: %+v %+v", c, c.Interval)
	}
	if c := change(duration, five[:3], slower[:3]); c.Worse() || c.Difference.Able || c.Interval != nil || c.Needs < 4 {
		t.Errorf("three repeats: %+v", c)
	}
	if c := change(duration, five, nil); c.Worse() || c.Interval != nil {
		t.Errorf("not measured: %+v", c)
	}
}

func TestDisparities(t *testing.T) {
	run := func(edit func(*results.Run)) results.Run {
		r := results.Run{
			Runtime: "docker", Host: results.Host{Name: "a", CPU: "cpu", Cores: 2, Memory: 64 << 30, Kernel: "6.1", Engine: "docker 27"},
			GPUDevices: []gpu.Device{{Name: "A", Driver: "550"}},
			Plan: scenarios.Plan{
				App: scenarios.App{Image: "host:5000/team/app:1", WSGI: "a:b"}, Client: scenarios.Client{Engine: "native"}, Fresh: "topology",
				Request:      wire.Request{Method: "GET", Path: "/"},
				PayloadFiles: []wire.PayloadFile{{Name: "a.txt", Size: 1, SHA256: "one"}},
			},
		}
		edit(&r)
		return r
	}
	same := run(func(*results.Run) {})
	for name, test := range map[string]struct {
		edit func(*results.Run)
		want []string
	}{
		"nothing":         {func(*results.Run) {}, nil},
		"another tag":     {func(r *results.Run) { r.Plan.App.Image = "host:5000/team/app:2" }, nil},
		"another image":   {func(r *results.Run) { r.Plan.App.Image = "host:5000/team/other:1" }, []string{kindApp}},
		"another GPU":     {func(r *results.Run) { r.GPUDevices[0].Name = "B" }, []string{kindGPU}},
		"no GPU":          {func(r *results.Run) { r.GPUDevices = nil }, []string{kindGPU}},
		"another driver":  {func(r *results.Run) { r.GPUDevices[0].Driver = "560" }, []string{kindDriver}},
		"another CPU":     {func(r *results.Run) { r.Host.Cores = 4 }, []string{kindCPU}},
		"half the memory": {func(r *results.Run) { r.Host.Memory = 32 << 30 }, []string{kindMemory}},
		"another boot":    {func(r *results.Run) { r.Host.Memory -= 1 << 30 }, nil},
		"another kernel":  {func(r *results.Run) { r.Host.Kernel = "6.12" }, nil},
		"a process":       {func(r *results.Run) { r.Runtime = "process" }, []string{kindRuntime}},
		"limits":          {func(r *results.Run) { r.Plan.Resources.Memory = 1 << 30 }, []string{kindLimits}},
		"client":          {func(r *results.Run) { r.Plan.Client.Engine = "python-requests" }, []string{kindClient}},
		"payload":         {func(r *results.Run) { r.Plan.PayloadFiles[0].SHA256 = "other" }, []string{kindPayload}},
		"payload unknown": {func(r *results.Run) { r.Plan.PayloadFiles = nil }, nil},
		"request":         {func(r *results.Run) { r.Plan.Request.Path = "/x" }, []string{kindRequest}},
		"fresh":           {func(r *results.Run) { r.Plan.Fresh = "cell" }, []string{kindFresh}},
		"machine unknown": {func(r *results.Run) { r.Host, r.GPUDevices = results.Host{}, nil }, nil},
		"two kinds": {func(r *results.Run) { r.Runtime, r.Imported = "process", "x.csv" },
			[]string{kindRuntime, kindSource}},
	} {
		t.Run(name, func(t *testing.T) {
			found := Disparities(same, run(test.edit))
			var kinds []string
			for _, d := range found {
				kinds = append(kinds, d.Kind)
			}
			if !slices.Equal(kinds, test.want) {
				t.Errorf("differ in %v, want %v", found, test.want)
			}
			if left := Without(found, test.want); len(left) != 0 {
				t.Errorf("allowed, and still %v", left)
			}
			if left := Without(found, []string{"all"}); len(left) != 0 {
				t.Errorf("all allowed, and still %v", left)
			}
		})
	}
}

// TestNotes: what differs of two machines of one kind is said.
func TestNotes(t *testing.T) {
	base := results.Run{Host: results.Host{Name: "a", Kernel: "6.1", Engine: "docker 27", Memory: 64 << 30}}
	head := results.Run{Host: results.Host{Name: "b", Kernel: "6.12", Engine: "docker 28", Memory: 63 << 30}}
	var kinds []string
	for _, note := range CompareRuns(base, head, nil, nil).Notes {
		kinds = append(kinds, note.Kind)
	}
	if want := []string{noteHost, noteKernel, noteEngine, kindMemory}; !slices.Equal(kinds, want) {
		t.Errorf("noted %v, want %v", kinds, want)
	}
	head.Host.Memory = 32 << 30 // a disparity, and no note
	if notes := Notes(base, head); len(notes) != 3 {
		t.Errorf("noted %v", notes)
	}
	if notes := Notes(base, results.Run{}); len(notes) != 0 {
		t.Errorf("of a machine that is not known: %v", notes)
	}
}

func TestCheckThresholds(t *testing.T) {
	parse := func(text string) *threshold.Threshold {
		condition, err := results.Vocabulary().Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return condition
	}
	noisy := []float64{10, 10.1, 10.2, 10.3, 12}
	errored := repeated("a", 1, 1, 1)
	errored[1].Errors, errored[1].Replies = 2, 98
	for _, test := range []struct {
		name, threshold string
		base, head      []results.Record
		want            string
	}{
		{"kept", "duration < 11s", nil, repeated("a", 10, 10.5), results.CheckOK},
		{"one repeat above", "duration < 11s", nil, repeated("a", 10, 10.1, 11.5), results.CheckBroken},
		{"errors of a repeat that does not speak", "errors == 0", nil, errored, results.CheckBroken},
		{"null", "gpu_peak < 5GiB", nil, repeated("a", 1), results.CheckNotMeasured},
		{"failed", "duration < 11s", nil, failing(repeated("a", 1), 1), results.CheckNotMeasured},
		{"no baseline", "duration < base * 1.05", nil, repeated("a", 1), results.CheckNoBaseline},
		{"nothing to divide by", "errors / base.errors <= 1.05", repeated("a", 1, 1, 1), repeated("a", 1, 1, 1), results.CheckNotMeasured},
		{"the opposite of that", "not (errors / base.errors > 1.05)", repeated("a", 1, 1, 1), repeated("a", 1, 1, 1), results.CheckNotMeasured},
		{"of the cell alone", "duration / 1s * (errors / errors) > 1", nil, repeated("a", 1), results.CheckNotMeasured},
		{"baseline failed", "duration < base * 1.05", failing(repeated("a", 1), 1), repeated("a", 1), results.CheckNoBaseline},
		{"baseline null", "duration < base.gpu_peak / 1GiB * 1s", repeated("a", 1), repeated("a", 1), results.CheckNoBaseline},
		{"within the limit", "duration < base * 1.05", repeated("a", noisy...), repeated("a", 10.2, 10.3, 10.4, 10.5, 10.6), results.CheckOK},
		{"within noise", "duration < base * 1.05", repeated("a", noisy...), repeated("a", 9.9, 10, 10.9, 11, 11.1), results.CheckNoise},
		{"slower", "duration < base * 1.05", repeated("a", noisy...), repeated("a", 12.1, 12.2, 12.3, 12.4, 12.5), results.CheckBroken},
		{"three repeats can show it", "duration < base * 1.05", repeated("a", 10, 10.1, 10.2), repeated("a", 11, 11.1, 11.2), results.CheckBroken},
		{"one repeat cannot", "duration < base * 1.05", repeated("a", 10), repeated("a", 20), results.CheckUndecided},
		{"an improvement that was not made", "duration < base * 0.9", repeated("a", noisy...), repeated("a", noisy...), results.CheckBroken},
		{"more errors", "errors <= base", repeated("a", 1, 1, 1), errored, results.CheckBroken},
	} {
		t.Run(test.name, func(t *testing.T) {
			checks := CheckThresholds([]*threshold.Threshold{parse(test.threshold)}, Summarise(test.head), Summarise(test.base))
			if len(checks) != 1 || checks[0].Status != test.want {
				t.Fatalf("%+v, want %s", checks, test.want)
			}
			if checks[0].Status == results.CheckUndecided && checks[0].Needs != 3 {
				t.Errorf("needs %d repeats, want 3", checks[0].Needs)
			}
		})
	}
}

// erring are the records with so many errors in each, in a tenth of the time.
func erring(records []results.Record, errors int) []results.Record {
	records = slices.Clone(records)
	for i := range records {
		fast := *records[i].Duration / 10
		records[i].Duration, records[i].Errors = &fast, errors
		records[i].Replies = records[i].Cell.Load.Requests - errors
	}
	return records
}

// TestErrorsAreNoImprovement: a stack that answers with errors is ten times as
// fast, and no better in anything.
func TestErrorsAreNoImprovement(t *testing.T) {
	five := repeated("a", 10, 10.1, 10.2, 10.3, 10.4)
	mixed := erring(five, 90)
	mixed[0] = five[0]
	for _, test := range []struct {
		name       string
		base, head []results.Record
		state      string
		compared   bool
	}{
		{"every repeat", five, erring(five, 90), CellNewlyErring, false},
		{"one repeat is clean", five, mixed, CellNewlyErring, true},
		{"the last clean repeat gone", mixed, erring(five, 90), CellNewlyErring, false},
		{"the base had them too", erring(five, 90), erring(five, 90), CellBoth, false},
		{"mended", erring(five, 90), five, CellBoth, false},
		{"some repeats clean in both", mixed, mixed, CellBoth, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := CompareRuns(results.Run{}, results.Run{}, test.base, test.head)
			cell := c.Cells[0]
			if cell.State != test.state || c.Regressed() != (test.state == CellNewlyErring) {
				t.Errorf("state %q, regressed %v; want %q", cell.State, c.Regressed(), test.state)
			}
			if len(cell.Changes) == 0 {
				t.Fatal("no changes")
			}
			for _, change := range cell.Changes {
				if change.Better() || change.Erring == test.compared || !test.compared && (change.Worse() || change.Interval != nil || change.Needs != 0) {
					t.Errorf("%s: %+v", change.Metric.Name, change)
				}
			}
		})
	}
}

// TestFewerRepeatsOK: a cell that was ok at times and never is any more gives
// no longer what it gave.
func TestFewerRepeatsOK(t *testing.T) {
	two := repeated("a", 1, 1)
	none := failing(failing(two, 1), 2)
	for _, test := range []struct {
		name       string
		base, head []results.Record
		state      string
	}{
		{"1 of 2, then 0", failing(two, 2), none, CellNewlyFailing},
		{"1 of 2, then not started", failing(two, 2), pruned(two), CellNewlyPruned},
		{"1 of 2 in both", failing(two, 2), failing(two, 1), CellFailing},
		{"never", none, none, CellFailing},
	} {
		c := CompareRuns(results.Run{}, results.Run{}, test.base, test.head)
		if got := c.Cells[0].State; got != test.state || c.Regressed() != (test.state != CellFailing) {
			t.Errorf("%s: %q, regressed %v; want %q", test.name, got, c.Regressed(), test.state)
		}
	}
}
