package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; `go test -update` writes it anew. Got:\n%s", path, got)
	}
}

func render(t *testing.T, format string, run results.Run, records []results.Record, opts report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := pages.Formats(run, records).Write(&b, format, opts); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// published reads the records of one table of the reference experiment.
//
// testdata/published.csv holds the figures of the published experiment that
// stackmeter's tables follow: seconds for a batch, and MiB as nvidia-smi
// showed them. Where a table leaves the pool out, it is not used here.
func published(t *testing.T, table string) []results.Record {
	t.Helper()
	f, err := os.Open("testdata/published.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	number := func(text string) int {
		if text == "" {
			return 0
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var records []results.Record
	for _, row := range rows[1:] {
		if row[at["table"]] != table {
			continue
		}
		topology := scenarios.Topology{
			Server: row[at["server"]], Workers: number(row[at["workers"]]), Threads: number(row[at["threads"]]),
		}
		topology.SetAxes(row[at["nginx"]] == "yes", nil)
		topology.Name = topology.Server
		if topology.Workers > 0 {
			topology.Name += "-w" + row[at["workers"]] + "-t" + row[at["threads"]]
		}
		if topology.Nginx() {
			topology.Name = "nginx+" + topology.Name
		}
		r := record(topology, scenarios.LoadSpec{
			Requests: number(row[at["files"]]), Client: row[at["client"]], Pool: number(row[at["pool"]]),
		}, 1)
		if text := row[at["duration_s"]]; text != "" {
			duration, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			r.Duration = &duration
		}
		if text := row[at["gpu_memory_mib"]]; text != "" {
			peak := int64(number(text)) << 20
			r.GPU = gpu.Usage{Validity: gpu.Valid, Method: gpu.MethodNVMLv2, Interval: 500 * time.Millisecond, Peak: &peak}
		}
		records = append(records, r)
	}
	if len(records) == 0 {
		t.Fatalf("no figures of table %s", table)
	}
	return records
}

func record(topology scenarios.Topology, spec scenarios.LoadSpec, repeat int) results.Record {
	return results.Record{
		Run: "r1", Topology: topology, Status: results.StatusOK, Replies: spec.Requests,
		Cell:    scenarios.Cell{Name: topology.Name + "/" + spec.Name(), Repeat: repeat, Load: spec},
		Started: time.Date(2026, 11, 23, 8, 15, repeat, 0, time.UTC),
	}
}

func measured(topology scenarios.Topology, spec scenarios.LoadSpec, repeat int, duration float64, mib int64) results.Record {
	r := record(topology, spec, repeat)
	r.Duration = &duration
	if mib > 0 {
		peak := mib << 20
		r.Memory = results.Memory{Method: "cgroup v1", Peak: &peak, Samples: 90}
	}
	return r
}

func sampleRun() results.Run {
	return results.Run{
		ID: "20261123-081500-7f3a", Scenario: "quickstart", File: "quickstart.yaml",
		Started: time.Date(2026, 11, 23, 8, 15, 0, 0, time.UTC), Outcome: results.OutcomeOK, Runtime: "docker",
		Host: results.Host{
			Name: "bench", CPU: "Example CPU", Cores: 2, Memory: 24 << 30, OS: "Debian GNU/Linux 12", Kernel: "6.1.0",
			Engine: "Docker 28.5.2",
		},
		Plan: scenarios.Plan{
			Scenario: "quickstart", Client: scenarios.Client{Engine: scenarios.EngineNative},
			Warmup: 5, Order: scenarios.OrderShuffle, Seed: 7, Fresh: scenarios.FreshTopology,
		},
	}
}

var (
	flask    = scenarios.Topology{Name: "flask", Server: "flask"}
	gunicorn = scenarios.Topology{Name: "gunicorn-w1-t4", Server: "gunicorn", Workers: 1, Threads: 4}
	nginx    = scenarios.Topology{Name: "nginx+gunicorn-w1-t4", Server: "gunicorn", Workers: 1, Threads: 4, Proxy: "nginx"}
	single   = scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientSingle, Pool: 1}
	mt5      = scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientMT, Pool: 5}
)

// repeats is a run of three repeats with everything that can go wrong.
func repeats() (results.Run, []results.Record) {
	run := sampleRun()
	run.Outcome = results.OutcomeFailed
	run.Plan.Repeats = 3
	run.Plan.Request.MaxErrors = &wire.ErrorLimit{Percent: 10}
	for repeat := 1; repeat <= 3; repeat++ {
		for _, topology := range []scenarios.Topology{flask, gunicorn, nginx} {
			run.Plan.Trials = append(run.Plan.Trials, scenarios.Trial{
				Topology: topology, Repeat: repeat, Cells: []scenarios.Cell{{Load: single}, {Load: mt5}},
			})
		}
	}
	run.Planned = run.Plan.Cells()
	run.Spent = map[string]float64{
		results.PhaseMeasure: 90, results.PhaseStart: 6, results.PhaseReady: 18, results.PhaseWarmup: 4.5,
		results.PhaseStop: 3, results.PhaseOther: 0.25,
	}
	noGPU := func(r results.Record, flags ...string) results.Record {
		r.Flags = append([]string{results.FlagNoGPU}, flags...)
		return r
	}
	failed := func(topology scenarios.Topology, spec scenarios.LoadSpec, repeat int, reason, log string) results.Record {
		r := noGPU(record(topology, spec, repeat))
		r.Status, r.Reason, r.LogTail, r.Replies = results.StatusFailed, reason, log, 0
		return r
	}
	errored := noGPU(measured(gunicorn, mt5, 2, 0.4, 331), results.FlagErrors)
	errored.Replies, errored.Errors = 37, 3
	errored.ErrorKinds = map[string]int{load.ErrTimeout: 2, load.ErrStatus: 1}
	errored.FirstErrors = map[string]string{load.ErrStatus: "500 Internal Server Error"}
	return run, []results.Record{
		noGPU(measured(flask, single, 1, 1.92, 402)), noGPU(measured(flask, single, 2, 1.95, 409)), noGPU(measured(flask, single, 3, 1.9, 405)),
		noGPU(measured(flask, mt5, 1, 1.08, 409), results.FlagInherited), noGPU(measured(flask, mt5, 2, 1.12, 410)), noGPU(measured(flask, mt5, 3, 1.1, 411)),
		noGPU(measured(gunicorn, single, 1, 1.95, 300)), noGPU(measured(gunicorn, single, 2, 1.96, 305)),
		failed(gunicorn, single, 3, "the app was killed for memory: its limit is 300 MiB", ""),
		noGPU(measured(gunicorn, mt5, 1, 1.06, 331)), errored, noGPU(measured(gunicorn, mt5, 3, 1.04, 0)),
		failed(nginx, single, 1, "never ready within 30s: the last probe said 502 Bad Gateway\ncheck the app's log, or raise app.ready.timeout",
			"app | ModuleNotFoundError: No module named 'wsgi'\napp | \x1b[31mWorker failed to boot\x1b[0m\n"),
		failed(nginx, mt5, 1, "never ready within 30s: the last probe said 502 Bad Gateway", ""),
	}
}

// swept is a run with two axes, one of which pays from a pool of 8 on.
func swept() (results.Run, []results.Record) {
	run := sampleRun()
	run.Plan.Repeats = 1
	var records []results.Record
	for batch, durations := range map[string][]float64{"1": {2, 1.1, 1.1}, "4": {2.1, 1.2, 0.9}, "16": {2.2, 1.05, 0.6}} {
		for delay, more := range map[string]float64{"2": 0, "10": 0.2} {
			topology := scenarios.Topology{
				Name: "uvicorn-w1-batch" + batch + "-delay" + delay, Server: "uvicorn", Workers: 1,
				Env:  map[string]string{"BATCH": batch, "DELAY": delay},
				Axes: map[string]string{"env.BATCH": batch, "env.DELAY": delay},
			}
			for i, pool := range []int{1, 4, 8} {
				spec := scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientMT, Pool: pool}
				if pool == 1 {
					spec.Client = scenarios.ClientSingle
				}
				records = append(records, measured(topology, spec, 1, durations[i]+more, 300))
			}
		}
	}
	records = append(records, measured(flask, single, 1, 1.9, 300))
	return run, records
}

// sideBySide is a run of two topologies, each on a lane of its own.
func sideBySide() (results.Run, []results.Record) {
	run := sampleRun()
	run.Plan.Repeats, run.Plan.Lanes = 4, 2
	run.Lanes = &results.Lanes{
		Have:  []results.Lane{{Devices: []string{"GPU-a"}}, {Devices: []string{"GPU-b"}}},
		Check: &results.LaneCheck{Lanes: 2, Pairs: 8, Alone: 0.51, Beside: 0.512, Ratio: 1.004, Low: new(0.99), High: new(1.011)},
	}
	var records []results.Record
	for repeat := 1; repeat <= 4; repeat++ {
		for lane, topology := range []scenarios.Topology{flask, nginx} {
			for i, spec := range []scenarios.LoadSpec{single, mt5} {
				r := measured(topology, spec, repeat, 2-0.8*float64(i+lane)+0.01*float64(repeat), int64(400+50*lane))
				r.Lane = lane + 1
				records = append(records, r)
			}
		}
	}
	return run, records
}

// TestAcrossLanes: whatever shows how a topology stands to one that another lane
// measured says there that the two are of different lanes, and nothing else says so.
func TestAcrossLanes(t *testing.T) {
	run, records := sideBySide()
	run.Plan.Recommend = &goals.Recommend{Objective: results.MetricDuration}
	const said = "the two were measured in different lanes, not in turn on the same device: a difference may be one between the lanes"
	for view, text := range viewsOf(t, run, records) {
		switch view {
		case "table", "markdown", "html", "recommend text", "recommend markdown":
			if n := strings.Count(plainly(text), "~ "+said); n < 1 {
				t.Errorf("%s does not say it:\n%s", view, text)
			}
		case "summary":
			if !strings.Contains(plainly(text), "topologies were measured in different lanes") {
				t.Errorf("%s does not say it:\n%s", view, text)
			}
		case "recommend json":
			if !strings.Contains(text, `"across_lanes": true`) {
				t.Errorf("%s does not say it:\n%s", view, text)
			}
		}
	}
	for i := range records {
		records[i].Lane = 1 + records[i].Cell.Repeat%2 // of both topologies the same
	}
	for view, text := range viewsOf(t, run, records) {
		if strings.Contains(text, "different lanes") || strings.Contains(text, "across_lanes") {
			t.Errorf("%s says of ratios within a lane:\n%s", view, text)
		}
	}
}

func TestGolden(t *testing.T) {
	gpuRun := func(scenario string, baseline *scenarios.Baseline) results.Run {
		run := sampleRun()
		run.Scenario = scenario
		run.GPUDevices = []gpu.Device{{UUID: "GPU-1", Name: "Example GPU", Memory: 16 << 30, Driver: "550.54"}}
		run.Plan.Baseline = baseline
		return run
	}
	run, records := repeats()
	unmeasured := sampleRun()
	nothing := record(flask, single, 1)
	nothing.Memory.Reason = "no cgroup could be read"
	sweptRun, sweptRecords := swept()
	lanesRun, lanesRecords := sideBySide()
	partly := published(t, "3")[:3]
	partly[1].GPU = gpu.Usage{Validity: gpu.Invalid, Reason: "NVML: GPU is lost"}
	partly[2].GPU.Validity, partly[2].GPU.Flags = gpu.Flagged, []string{gpu.FlagForeign}
	for _, test := range []struct {
		name    string
		run     results.Run
		records []results.Record
		opts    report.Options
	}{
		{"table1", gpuRun("table 1", nil), published(t, "1"), report.Options{}},
		{"table3", gpuRun("table 3", nil), published(t, "3"), report.Options{}},
		{"table5", gpuRun("table 5", &scenarios.Baseline{Topology: "nginx+gunicorn-w1-t2", Client: "mp1"}), published(t, "5"), report.Options{}},
		{"conclusion", gpuRun("conclusion", nil), published(t, "7"), report.Options{}},
		{"repeats", run, records, report.Options{}},
		{"narrow", run, records, report.Options{Width: 50}},
		{"color", run, records, report.Options{Color: true}},
		{"unmeasured", unmeasured, []results.Record{nothing, measured(flask, mt5, 1, 1.5, 0)}, report.Options{}},
		{"partly", gpuRun("partly", nil), partly, report.Options{}},
		{"allfailed", sampleRun(), records[12:], report.Options{}},
		{"swept", sweptRun, sweptRecords, report.Options{}},
		{"lanes", lanesRun, lanesRecords, report.Options{}},
		{"empty", sampleRun(), nil, report.Options{}},
	} {
		for _, format := range []string{"table", "markdown"} {
			if format == "markdown" && test.opts != (report.Options{}) {
				continue // Markdown has neither width nor colour
			}
			t.Run(test.name+"/"+format, func(t *testing.T) {
				got := render(t, format, test.run, test.records, test.opts)
				golden(t, test.name+"."+format, got)
				if format == "table" && !test.opts.Color && test.opts.Width == 0 {
					for line := range strings.Lines(got) {
						if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
							t.Errorf("a line of %d columns: %s", n, line)
						}
					}
				}
			})
		}
	}
	for _, format := range []string{"csv", "json"} {
		t.Run("repeats/"+format, func(t *testing.T) {
			golden(t, "repeats."+format, render(t, format, run, records, report.Options{}))
		})
	}
}

// TestRecommendationGolden chooses from the published conclusion, and from
// repeats that are enough to tell.
func TestRecommendationGolden(t *testing.T) {
	var enough []results.Record
	for repeat, d := range []float64{2.0, 2.02, 1.99, 2.01, 2.03, 2.0} {
		enough = append(enough, measured(flask, single, repeat+1, d, 400), measured(gunicorn, mt5, repeat+1, d-0.8, 520),
			measured(nginx, mt5, repeat+1, d-0.799+0.001*float64(repeat%3), 500+int64(repeat%2)), measured(nginx, single, repeat+1, d+0.3, 500))
	}
	for _, test := range []struct {
		name    string
		records []results.Record
		goal    goals.Recommend
		rate    float64
	}{
		{"recommend4500", published(t, "7"), goals.Recommend{Objective: "duration", Under: map[string]string{"gpu_peak": "4500MiB"}}, 0},
		{"recommend5000", published(t, "7"), goals.Recommend{Objective: "duration", Under: map[string]string{"gpu_peak": "5000MiB"}}, 100},
		{"recommendnothing", published(t, "7"), goals.Recommend{Objective: "duration", Under: map[string]string{"gpu_peak": "3GiB", "p99": "1s"}}, 0},
		{"recommendenough", enough, goals.Recommend{Objective: "throughput", Under: map[string]string{"throughput": "10/s"}}, 0},
	} {
		goal, err := verdict.NewGoal(test.goal)
		if err != nil {
			t.Fatal(err)
		}
		r := verdict.Recommend(verdict.Summarise(test.records), scenarios.Plan{}, goal)
		for _, format := range pages.RecommendFormats(results.Run{}, nil, 0).Names() {
			t.Run(test.name+"/"+format, func(t *testing.T) {
				var b bytes.Buffer
				if err := pages.RecommendFormats(sampleRun(), r, test.rate).Write(&b, format, report.Options{}); err != nil {
					t.Fatal(err)
				}
				golden(t, test.name+"."+format, b.String())
			})
		}
	}
	// The scenario's own goal is answered at the end of its report.
	run := sampleRun()
	run.Plan.Recommend = &goals.Recommend{Objective: "duration", Under: map[string]string{"gpu_peak": "4500MiB"}}
	if out := render(t, "table", run, published(t, "7"), report.Options{}); !strings.Contains(out, "with gpu_peak ≤ 4500MiB") ||
		!strings.Contains(out, "mt10    nginx+gunicorn-w1-t4   18.50 s") {
		t.Errorf("no recommendation in\n%s", out)
	}
	for _, format := range []string{"table", "markdown", "summary", "html"} {
		for under, marked := range map[string]string{
			"gpu_peak=4500MiB": "(over the budget)", "p99=2s": "(not known to be within the budget)", "gpu_peak=45000MiB": "",
		} {
			name, most, _ := strings.Cut(under, "=")
			run.Plan.Recommend = &goals.Recommend{Objective: "duration", Under: map[string]string{name: most}}
			out := strings.ReplaceAll(render(t, format, run, published(t, "7"), report.Options{}), "\\", "")
			for _, mark := range []string{"(over the budget)", "(not known to be within the budget)"} {
				if strings.Contains(out, mark) != (mark == marked) {
					t.Errorf("%s under %s: %q is in it: %v\n%s", format, under, mark, mark != marked, out)
				}
			}
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	err := pages.Formats(results.Run{}, nil).Write(&bytes.Buffer{}, "pdf", report.Options{})
	if err == nil || !strings.Contains(err.Error(), strings.Join(pages.Formats(results.Run{}, nil).Names(), ", ")) {
		t.Errorf("error %v does not list the formats", err)
	}
}

func TestWriteFails(t *testing.T) {
	run, records := repeats()
	for _, format := range pages.Formats(results.Run{}, nil).Names() {
		if err := pages.Formats(run, records).Write(brokenPipe{}, format, report.Options{}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v, want the writer's error", format, err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

// TestJSONFormat holds the JSON to the keys that were promised, and to null
// for what was not measured.
func TestJSONFormat(t *testing.T) {
	run, records := repeats()
	run.Plan.App.Env = map[string]string{"TOKEN": "s3cret"}
	run.Plan.Trials[0].Topology.Env = map[string]string{"TOKEN": "s3cret"}
	run.Plan.Request.Headers = map[string]string{"Authorization": "s3cret"}
	latency := new(load.Latency)
	latency.Record(time.Second)
	records[0].Latency = latency
	used := int64(5 << 20)
	records[0].Memory.Series = []gpu.Point{{At: 0.02, Used: &used}, {At: 0.04}}
	out := render(t, "json", run, records, report.Options{})
	if strings.Contains(out, "s3cret") {
		t.Error("a value of the environment was written")
	}
	if run.Plan.App.Env["TOKEN"] != "s3cret" || run.Plan.Trials[0].Topology.Env["TOKEN"] != "s3cret" {
		t.Error("the caller's plan was changed")
	}
	var got struct {
		Schema int
		Run    map[string]any
		Cells  []map[string]any
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if want := []any{map[string]any{"at_s": 0.02, "used": 5242880.0}, map[string]any{"at_s": 0.04, "used": nil}}; !reflect.DeepEqual(got.Cells[0]["memory"].(map[string]any)["series"], want) {
		t.Errorf("memory %v, want the series %v", got.Cells[0]["memory"], want)
	}
	if got.Schema != 1 || len(got.Cells) != len(records) {
		t.Fatalf("schema %d with %d cells", got.Schema, len(got.Cells))
	}
	for _, key := range []string{"id", "scenario", "started", "finished", "host", "gpu_devices", "measuring_fraction"} {
		if _, found := got.Run[key]; !found {
			t.Errorf("run.%s is not there", key)
		}
	}
	for _, key := range []string{
		"topology", "server", "workers", "threads", "nginx", "client", "pool", "requests", "repeat", "status", "reason",
		"flags", "duration_s", "throughput_rps", "errors", "error_kinds", "latency_s", "gpu", "memory", "cpu",
	} {
		if _, found := got.Cells[0][key]; !found {
			t.Errorf("cells[].%s is not there", key)
		}
	}
	for object, keys := range map[string][]string{
		"latency_s": {"min", "mean", "p50", "p90", "p99", "max"},
		"gpu":       {"method", "device_used_baseline_mib", "device_used_peak_mib", "stack_peak_mib", "samples", "max_gap_ms"},
		"memory":    {"stack_peak_mib"},
		"cpu":       {"stack_s", "client_s"},
	} {
		inner, _ := got.Cells[0][object].(map[string]any)
		for _, key := range keys {
			if _, found := inner[key]; !found {
				t.Errorf("cells[].%s.%s is not there", object, key)
			}
		}
	}
	last := got.Cells[len(got.Cells)-1] // failed before its load was fired
	for _, key := range []string{"duration_s", "throughput_rps", "latency_s", "errors", "replies"} {
		if last[key] != nil {
			t.Errorf("%s of a cell without a measurement is %v, want null", key, last[key])
		}
	}
	if peak := got.Cells[0]["memory"].(map[string]any)["stack_peak_mib"]; peak != 402.0 {
		t.Errorf("stack_peak_mib = %v, want 402", peak)
	}
	if workers := got.Cells[0]["workers"]; workers != nil {
		t.Errorf("flask has %v workers, want null", workers)
	}
}

func TestWriteRuns(t *testing.T) {
	var b bytes.Buffer
	if err := report.WriteRuns(&b, nil); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	first, second := sampleRun(), sampleRun()
	first.Counts = &results.Counts{OK: 9, Planned: 9}
	second.ID, second.Outcome, second.Counts = "20261122-081500-0001", "", &results.Counts{OK: 4, Failed: 1, Planned: 9}
	third := sampleRun()
	third.ID, third.Outcome = "20261121-081500-0002", results.OutcomeInterrupted
	if err := report.WriteRuns(&b, []results.Run{first, second, third}); err != nil {
		t.Fatal(err)
	}
	golden(t, "runs", b.String())
}

func TestFormatsAreKnown(t *testing.T) {
	if want := []string{"table", "markdown", "csv", "json", "html", "junit", "prometheus", "summary"}; !slices.Equal(pages.Formats(results.Run{}, nil).Names(), want) {
		t.Errorf("Formats() = %v, want %v", pages.Formats(results.Run{}, nil).Names(), want)
	}
}

// BenchmarkTable prints a run of 10,000 cells.
func BenchmarkTable(b *testing.B) {
	var records []results.Record
	for workers := range 100 {
		topology := gunicorn
		topology.Workers = workers + 1
		topology.Name = "gunicorn-w" + strconv.Itoa(topology.Workers) + "-t4"
		for pool := range 100 {
			spec := scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientMT, Pool: pool + 1}
			records = append(records, measured(topology, spec, 1, float64(workers+pool+1), 300))
		}
	}
	for b.Loop() {
		if err := pages.Formats(sampleRun(), records).Write(io.Discard, "table", report.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
