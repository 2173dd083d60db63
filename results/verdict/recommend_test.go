package verdict

import (
	"encoding/csv"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// published are rows of the published experiment that have a duration. Where a
// table leaves the memory out, that of the topology and client over 3000 files
// (table 6) is taken, as the experiment's own conclusion does.
func published(t *testing.T, tables ...string) []results.Record {
	t.Helper()
	f, err := os.Open("../report/testdata/published.csv")
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
		n, _ := strconv.Atoi(text) // empty is 0
		return n
	}
	memory := map[string]int{}
	for _, row := range rows[1:] {
		if row[at["table"]] == "6" {
			memory[row[at["threads"]]+row[at["client"]]] = number(row[at["gpu_memory_mib"]])
		}
	}
	var records []results.Record
	for _, row := range rows[1:] {
		duration, err := strconv.ParseFloat(row[at["duration_s"]], 64)
		if err != nil || !slices.Contains(tables, row[at["table"]]) {
			continue
		}
		topology := flask()
		if row[at["server"]] == "gunicorn" {
			name := "gunicorn-w" + row[at["workers"]] + "-t" + row[at["threads"]]
			if row[at["nginx"]] == "yes" {
				name = "nginx+" + name
			}
			topology = gunicorn(name, row[at["nginx"]] == "yes", number(row[at["workers"]]), number(row[at["threads"]]))
		}
		mib := number(row[at["gpu_memory_mib"]])
		if mib == 0 {
			mib = memory[row[at["threads"]]+row[at["client"]]]
		}
		load := pooled(row[at["client"]], number(row[at["pool"]]), number(row[at["files"]]))
		records = append(records, onGPU(ok(topology, load, 1, duration, -1), int64(mib)))
	}
	return records
}

func goal(t *testing.T, objective string, budgets ...string) Goal {
	t.Helper()
	m, err := results.FindMetric(objective)
	if err != nil {
		t.Fatal(err)
	}
	g := Goal{Objective: m}
	for _, text := range budgets {
		b, err := ParseBudget(text)
		if err != nil {
			t.Fatal(err)
		}
		g.Under = append(g.Under, b)
	}
	return g
}

func TestRecommendFromThePublishedTables(t *testing.T) {
	for _, tables := range [][]string{{"3", "5"}, {"3", "5", "7"}} {
		summaries := Summarise(published(t, tables...))
		for _, test := range []struct {
			budget, best string
			duration     float64
			mib          float64
			more         string
		}{
			{"4500MiB", "nginx+gunicorn-w1-t4/mt10", 18.5023, 4481, "nginx+gunicorn-w1-t6/mt10"},
			{"5000MiB", "nginx+gunicorn-w1-t6/mt10", 18.064, 4824, ""},
		} {
			t.Run(strings.Join(tables, "+")+"/"+test.budget, func(t *testing.T) {
				all := Recommend(summaries, scenarios.Plan{}, goal(t, "duration", "gpu_peak="+test.budget))
				r := all[slices.IndexFunc(all, func(r Recommendation) bool { return ModeName(r.Load) == "mt10" })]
				if r.Best == nil || r.Best.Condition() != test.best || r.Best.Duration.Median != test.duration ||
					r.Best.GPUPeak.Median != test.mib*(1<<20) {
					t.Fatalf("best: %+v", r.Best)
				}
				if r.RunnerUp == nil || r.RunnerUp.Difference.Able || *r.RunnerUp.Difference.Change <= 0 {
					t.Errorf("runner-up: %+v", r.RunnerUp)
				}
				if got := r.More; test.more == "" && got != nil || test.more != "" && (got == nil || got.Summary.Condition() != test.more) {
					t.Errorf("more memory buys %+v, want %q", got, test.more)
				}
				if r.Less == nil {
					t.Error("nothing needs less")
				}
			})
		}
	}
}

func TestRecommend(t *testing.T) {
	small, large := gunicorn("small", false, 1, 1), gunicorn("large", false, 2, 1)
	load := pooled("mt", 5, 100)
	repeats := func(topology scenarios.Topology, mib int64, durations ...float64) []results.Record {
		var records []results.Record
		for i, d := range durations {
			records = append(records, ok(topology, load, i+1, d, mib))
		}
		return records
	}
	for _, test := range []struct {
		name       string
		records    []results.Record
		goal       Goal
		best       string
		passedOver string
		over       int
	}{
		{"the faster one, where a difference is shown",
			slices.Concat(repeats(small, 100, 10, 10.1, 10.2, 10.3), repeats(large, 200, 9, 9.1, 9.2, 9.3)),
			goal(t, "duration"), "large/mt5/n100", "", 0},
		{"the one with less memory, where they are equal within 2%",
			slices.Concat(repeats(small, 100, 9.04, 9.05, 9.06, 9.07), repeats(large, 200, 9, 9.01, 9.02, 9.1)),
			goal(t, "duration"), "small/mt5/n100", "large/mt5/n100", 0},
		{"the faster one, where no difference of 48% is shown, to save 10 MiB",
			slices.Concat(repeats(small, 190, 9.5, 13.3, 13.4, 13.5), repeats(large, 200, 8.8, 8.9, 9.1, 9.9)),
			goal(t, "duration"), "large/mt5/n100", "", 0},
		{"the faster one, where none is shown and the noise would hide one",
			slices.Concat(repeats(small, 100, 10, 9.05, 9.15, 9.3), repeats(large, 200, 9, 9.1, 9.2, 9.9)),
			goal(t, "duration"), "large/mt5/n100", "", 0},
		{"the faster one, where the other saves 1% of its memory",
			slices.Concat(repeats(small, 198, 9.04, 9.05, 9.06, 9.07), repeats(large, 200, 9, 9.01, 9.02, 9.1)),
			goal(t, "duration"), "large/mt5/n100", "", 0},
		{"by the medians, where three repeats can show nothing",
			slices.Concat(repeats(small, 100, 10, 9.05, 9.25), repeats(large, 200, 9, 9.1, 9.2)),
			goal(t, "duration"), "large/mt5/n100", "", 0},
		{"equal medians: the one with less memory",
			slices.Concat(repeats(large, 200, 9), repeats(small, 100, 9)),
			goal(t, "duration"), "small/mt5/n100", "", 0},
		{"a budget that one repeat breaks",
			slices.Concat(repeats(large, 200, 9, 9.1), []results.Record{ok(large, load, 3, 9, 201)}, repeats(small, 100, 10, 10, 10)),
			goal(t, "duration", "memory_peak=200MiB"), "small/mt5/n100", "", 1},
		{"more is better of throughput",
			slices.Concat(repeats(large, 200, 10), repeats(small, 100, 20)),
			goal(t, "throughput", "throughput=5/s"), "large/mt5/n100", "", 0},
		{"a floor for throughput",
			slices.Concat(repeats(large, 200, 10), repeats(small, 100, 20)),
			goal(t, "memory_peak", "throughput=10/s"), "large/mt5/n100", "", 1},
		{"nothing fits", repeats(small, 100, 10), goal(t, "duration", "memory_peak=50MiB"), "", "", 1},
		{"a metric that was not measured is within no budget", repeats(small, 100, 10), goal(t, "duration", "gpu_peak=50GiB"), "", "", 1},
		{"nothing is clean", []results.Record{withErrors(ok(small, load, 1, 10, 100), 3)}, goal(t, "duration"), "", "", 0},
		{"an open loop's duration is its schedule's", slices.Concat(repeats(small, 100, 10),
			[]results.Record{ok(large, scenarios.LoadSpec{Client: scenarios.ClientOpen, Rate: 20, Requests: 100}, 1, 5, 50)}),
			goal(t, "duration"), "small/mt5/n100", "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Recommend(Summarise(test.records), scenarios.Plan{}, test.goal)[0]
			var best, passedOver string
			if r.Best != nil {
				best = r.Best.Name()
			}
			if r.PassedOver != nil {
				passedOver = r.PassedOver.Summary.Name()
			}
			if best != test.best || passedOver != test.passedOver || len(r.Over) != test.over {
				t.Errorf("best %q, passed over %q, %d over; want %q, %q, %d", best, passedOver, len(r.Over), test.best, test.passedOver, test.over)
			}
		})
	}
}

func TestParseBudget(t *testing.T) {
	for text, want := range map[string]float64{
		"gpu_peak=5GiB": 5 << 30, "gpu_peak=5000MiB": 5000 << 20, "memory_peak = 0.5 GiB": 1 << 29, "p99=2s": 2, "p99=500ms": 0.5,
		"duration=1m30s": 90, "throughput=10/s": 10, "throughput=2.5 /s": 2.5, "errors=0": 0, "rate=1/s": 1,
	} {
		got, err := ParseBudget(text)
		if err != nil || math.Abs(got.Limit-want) > 1e-9 {
			t.Errorf("%s: %v, %v; want %v", text, got.Limit, err, want)
		}
	}
	for text, want := range map[string]string{
		"gpu_peak":           "METRIC=VALUE",
		"gpu_peek=5GiB":      `there is no metric "gpu_peek"; did you mean gpu_peak? there are duration, throughput`,
		"gpu_peak=5GB":       `gpu_peak: there is no unit "GB"; did you mean GiB?`,
		"gpu_peak=5":         `"5" has no unit; for example 512MiB or 8GiB`,
		"gpu_peak=-5GiB":     `"-5GiB" is not a size`,
		"gpu_peak=InfGiB":    `"InfGiB" is not a size`,
		"gpu_peak=1e999 GiB": `"1e999" is too large`,
		"p99=2":              `p99: "2" has no unit; for seconds write 2s`,
		"p99=-2s":            `"-2s" is not a time`,
		"throughput=10":      `"10" has no unit; for 10 each second write 10/s`,
		"throughput=NaN/s":   `"NaN/s" is not a rate`,
		"errors=two":         `"two" is not a number`,
		"errors=0x10":        `there is no unit "x"`,
	} {
		if _, err := ParseBudget(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseBudget(f *testing.F) {
	f.Add("gpu_peak=5GiB")
	f.Add("p99=1e300h")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBudget(text)
		if err == nil && (b.Limit < 0 || math.IsNaN(b.Limit) || math.IsInf(b.Limit, 0)) {
			t.Errorf("%q became %v", text, b.Limit)
		}
	})
}

// TestRecommendForEachLoad: each load has an answer of its own, which another topology
// is the runner-up of, and a rate that of the least memory that served it.
func TestRecommendForEachLoad(t *testing.T) {
	small, large := gunicorn("small", false, 1, 1), gunicorn("large", false, 2, 1)
	open := func(topology scenarios.Topology, duration float64, mib int64) results.Record {
		return ok(topology, scenarios.LoadSpec{Client: scenarios.ClientOpen, Rate: 20, Arrivals: scenarios.ArrivalsConstant, Pool: scenarios.OpenPool, Requests: 100}, 1, duration, mib)
	}
	all := Recommend(Summarise([]results.Record{
		ok(small, single(100), 1, 10, 100), ok(large, single(100), 1, 11, 200),
		ok(small, pooled("mt", 5, 100), 1, 9, 100), ok(large, pooled("mt", 5, 100), 1, 5, 200), ok(large, pooled("mt", 5, 10), 1, 0.1, 200),
		open(small, 9, 100), open(large, 5.01, 200), open(gunicorn("larger", false, 4, 1), 5.01, 400),
	}), scenarios.Plan{}, goal(t, "duration"))
	if len(all) != 3 {
		t.Fatalf("%d loads", len(all))
	}
	for i, want := range []struct {
		load, best, runnerUp string
		requests, notHeld    int
		copies               int // for 100/s
	}{
		{"single", "small", "large", 100, 0, 10}, {"mt5", "large", "small", 100, 0, 5}, {"open20", "large", "larger", 100, 1, 5},
	} {
		r := all[i]
		if ModeName(r.Load) != want.load || r.Best == nil || r.Best.Topology.Name != want.best || r.RunnerUp == nil ||
			r.RunnerUp.Summary.Topology.Name != want.runnerUp || r.Frontier.Requests != want.requests || r.NotHeld != want.notHeld || r.Copies(100) != want.copies {
			t.Errorf("%s: %+v, %d not held, %d copies; want %+v", ModeName(r.Load), r.Best, r.NotHeld, r.Copies(100), want)
		}
	}
}

// TestExcessNamesTheRepeat: of a cell that does not fit the repeat that is the farthest
// over the budget is known, and its value reads as over it in the budget's own unit.
func TestExcessNamesTheRepeat(t *testing.T) {
	for _, test := range []struct {
		metric, limit string
		values        []float64
		repeat        int
		text          string
	}{
		{"memory_peak", "5000MiB", []float64{4990 << 20, 5003 << 20, 4995 << 20}, 2, "5003 MiB"},
		{"memory_peak", "5GiB", []float64{5<<30 + 1<<20, 5 << 30, 4 << 30}, 1, "5.001 GiB"},
		{"duration", "500ms", []float64{0.4, 0.50004, 0.50002}, 2, "500.04 ms"},
		{"duration", "1m", []float64{90, 61, 30}, 1, "1.5 m"},
		{"memory_peak", "4GiB", []float64{5000 << 20}, 1, "4.88 GiB"},
		{"duration", "1m30s", []float64{90, 90, 90.5}, 3, "90.5 s"},
		{"throughput", "10/s", []float64{12, 9.99, 9.995}, 2, "9.99 /s"},
	} {
		t.Run(test.metric+" "+test.limit, func(t *testing.T) {
			budget, err := NewBudget(test.metric, test.limit)
			if err != nil {
				t.Fatal(err)
			}
			var s Summary
			for i, v := range test.values {
				r := results.Record{Status: results.StatusOK, Cell: scenarios.Cell{Repeat: i + 1}}
				switch test.metric {
				case "memory_peak":
					r.Memory.Peak = new(int64(v))
				case "duration":
					r.Duration = &v
				case "throughput":
					r.Duration, r.Replies = new(1000/v), 1000
				}
				s.Speaking = append(s.Speaking, r)
			}
			repeat, value := budget.worst(s)
			if text := budget.In(value); repeat != test.repeat || text != test.text {
				t.Errorf("repeat %d at %s, want %d at %s", repeat, text, test.repeat, test.text)
			}
		})
	}
}
