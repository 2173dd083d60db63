package exchange_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/words"
	"stackmeter/scenarios"
)

// goldens are the files that package report is expected to write.
const goldens = "../report/testdata/"

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestReadBack: what is written as JSON and read gives the same report again, and
// the CSV of the run has the same cells.
func TestReadBack(t *testing.T) {
	first := readFile(t, goldens+"gate.json.golden")
	all, err := exchange.Read("x.json", bytes.NewReader(first), "")
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := exchange.WriteJSON(&again, all[0].Run, all[0].Records); err != nil {
		t.Fatal(err)
	}
	if again.String() != string(first) {
		t.Errorf("read back, it is another report:\n%s", again.String())
	}
	table, err := exchange.Read("x.csv", bytes.NewReader(readFile(t, goldens+"gate.csv.golden")), "")
	if err != nil {
		t.Fatal(err)
	}
	records := all[0].Records
	if len(table) != 1 || len(records) < 10 || len(table[0].Records) != len(records) {
		t.Fatalf("%d runs, %d records", len(table), len(records))
	}
	for i, r := range table[0].Records {
		if r.Key() != records[i].Key() || (r.Duration == nil) != (records[i].Duration == nil) || r.Duration != nil && *r.Duration != *records[i].Duration {
			t.Errorf("record %d of the CSV is %+v", i, r.Key())
		}
	}
}

func TestReadRefuses(t *testing.T) {
	const head = "table,files,server,workers,threads,nginx,client,pool,duration_s,gpu_memory_mib\n"
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "x:1: empty"},
		{"no rows", head, "x:2: no rows"},
		{"unknown column", "table,speed\n1,2\n", `x:1: there is no column "speed"`},
		{"column twice", "table,table\n", "x:1: column \"table\" is there twice"},
		{"missing column", strings.Replace(head, ",pool", "", 1), "x:1: the column pool is missing"},
		{"too few fields", head + "1,2\n", "x: record on line 2: wrong number of fields"},
		{"no number", head + "1,1,flask,,,no,single,1,fast,\n", `x:2: duration_s cannot be "fast"`},
		{"negative", head + "1,1,flask,,,no,single,1,1.5,\n1,1,flask,,,no,single,1,-1,\n", `x:3: duration_s cannot be "-1"`},
		{"not finite", head + "1,1,flask,,,no,single,1,NaN,\n", `x:2: duration_s cannot be "NaN"`},
		{"client", head + "1,1,flask,,,no,many,1,1,\n", `x:2: client cannot be "many": there is single, mp and mt`},
		{"nginx", head + "1,1,flask,,,maybe,single,1,1,\n", `x:2: nginx cannot be "maybe"`},
		{"no figure", head + "1,1,flask,,,no,single,1,,\n", "x:2: duration_s cannot be \"\": a row needs a duration or a memory"},
		{"hostile name", head + "1,1,\"=cmd|' /c\x1b[2J\",,,no,single,1,1,\n", `x:2: server cannot be`},
		{"files", head + "1,0,flask,,,no,single,1,1,\n", `x:2: files cannot be "0"`},
		{"JSON of something else", "{\"a\": 1}", "x: not a result of stackmeter"},
		{"broken JSON", "{\n\"schema\": 1,\n}", "x:3: not a result of stackmeter"},
		{"no verdict", `{"schema": 1, "run": {"id": "a", "outcome": "ok", "verdict": "great"}}`, `x: run.verdict cannot be "great": there is passed, failed, undecided, refused`},
		{"no outcome", `{"schema": 1, "run": {"id": "a", "outcome": "fine"}}`, `x: run.outcome cannot be "fine": there is ok, failed, interrupted, infrastructure`},
		{"newer JSON", `{"schema": 2, "run": {"id": "a"}}`, "schema 1"},
		{"JSON without a cell's name", `{"schema": 1, "run": {"id": "a"}, "cells": [{"repeat": 1}]}`, "x: cells[0]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, err := exchange.Read("x", strings.NewReader(test.text), "")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v; want %q", all, err, test.want)
			}
		})
	}
	if _, err := exchange.Read("x", strings.NewReader(head+"1,1,flask,,,no,single,1,1,\n"), "2"); err == nil || !strings.Contains(err.Error(), `no table "2"; there are 1`) {
		t.Errorf("a table that is not there: %v", err)
	}
}

// TestAttackImpossible: figures that cannot be are refused, with their place, in
// JSON and in CSV, those included that the record has no room for.
func TestAttackImpossible(t *testing.T) {
	text := map[string]string{}
	for _, format := range []string{"json", "csv"} {
		text[format] = string(readFile(t, goldens+"gate."+format+".golden"))
	}
	columns := strings.Split(strings.Split(text["csv"], "\n")[0], ",")
	for _, test := range []struct{ column, path, value, want string }{
		{"errors", "errors", "-3", "below 0|not below 0"},
		{"errors", "errors", "1", "there were 40 requests|by the cell's other figures"},
		{"duration_s", "duration_s", "0", "duration_s is 0"},
		{"duration_s", "duration_s", "1e308", "more than can be measured"},
		{"latency_p99_s", "latency_s.p99", "-1", "below 0"},
		{"latency_p99_s", "metrics.p99", "-1", "below 0"},
		{"latency_min_s", "latency_s.min", "5", "the first cannot be above the second"},
		{"latency_p50_s", "metrics.p50", "0.0395", "the first cannot be above the second"},
		{"latency_mean_s", "latency_s.mean", "7", "the first cannot be above the second"},
		{"memory_peak_bytes", "memory.stack_peak_mib", "1e300", "more than can be measured|below 0"},
	} {
		var whole map[string]any
		if err := json.Unmarshal([]byte(text["json"]), &whole); err != nil {
			t.Fatal(err)
		}
		at := whole["cells"].([]any)[0].(map[string]any)
		keys := strings.Split(test.path, ".")
		for _, key := range keys[:len(keys)-1] {
			at = at[key].(map[string]any)
		}
		at[keys[len(keys)-1]] = json.Number(test.value)
		changed, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(text["csv"], "\n")
		fields := strings.Split(rows[1], ",")
		fields[slices.Index(columns, test.column)] = test.value
		rows[1] = strings.Join(fields, ",")
		for place, data := range map[string]string{"x: cells[0] (flask/single/n40, repeat 1): ": string(changed), "x:2: ": strings.Join(rows, "\n")} {
			_, err := exchange.Read("x", strings.NewReader(data), "")
			if err == nil || !strings.HasPrefix(err.Error(), place) || !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("%s = %s: %v; want %s…%s", test.path, test.value, err, place, test.want)
			}
		}
	}
	for format, data := range text {
		if _, err := exchange.Read("x", strings.NewReader(data), ""); err != nil {
			t.Errorf("%s as it was: %v", format, err)
		}
	}
}

// changed is the golden file of the gate, in JSON or in CSV, with other values in its
// first cell or row. A path that begins with run is in the run.
func changed(t *testing.T, format string, values map[string]any) []byte {
	t.Helper()
	text := readFile(t, goldens+"gate."+format+".golden")
	if format == "csv" {
		in := csv.NewReader(bytes.NewReader(text))
		rows, err := in.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for column, value := range values {
			rows[1][slices.Index(rows[0], column)] = value.(string)
		}
		var b bytes.Buffer
		if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	var whole map[string]any
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	for path, value := range values {
		at := whole["cells"].([]any)[0].(map[string]any)
		keys := strings.Split(path, ".")
		if keys[0] == "run" {
			at = whole
		}
		for _, key := range keys[:len(keys)-1] {
			at = at[key].(map[string]any)
		}
		at[keys[len(keys)-1]] = value
	}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestAttackForged: a cell that is ok without the replies for it, and facts and figures
// that contradict one another, are refused with their place.
func TestAttackForged(t *testing.T) {
	type values = map[string]any
	for _, test := range []struct {
		csv, json values
		want      string
	}{
		{values{"replies": "0", "errors": "10", "throughput_rps": "0"}, values{"replies": 0, "errors": 10, "throughput_rps": 0, "metrics.errors": 10, "metrics.throughput": 0}, "replies cannot be 0"},
		{values{"replies": "0", "errors": "0", "throughput_rps": "0"}, values{"replies": 0, "throughput_rps": 0, "metrics.throughput": 0}, "replies cannot be 0"},
		{values{"replies": "", "errors": "", "throughput_rps": ""}, nil, "replies cannot be 0"},
		{values{"duration_s": "", "throughput_rps": ""}, nil, "duration_s cannot be"},
		{values{"replies": "30", "throughput_rps": "15.625"}, values{"replies": 30, "throughput_rps": 15.625, "metrics.throughput": 15.625}, "has them for all of its 40 requests"},
		{values{"replies": "30", "errors": "10", "throughput_rps": "15.625"}, values{"replies": 30, "errors": 10, "metrics.errors": 10, "throughput_rps": 15.625, "metrics.throughput": 15.625}, "the flag errors is missing"},
		{nil, values{"replies": 30, "errors": 10, "metrics.errors": 10, "throughput_rps": 15.625, "metrics.throughput": 15.625, "flags": []string{"errors"}}, "request.max_errors allows 10%"},
		{nil, values{"replies": 37, "errors": 3, "metrics.errors": 3, "throughput_rps": 37 / 1.92, "metrics.throughput": 37 / 1.92, "flags": []string{"errors"}, "run.plan.request.max_errors": nil}, "the plan has no request.max_errors"},

		{values{"latency_p99_s": "100", "latency_max_s": "100"}, values{"latency_s.max": 100, "latency_s.p99": 100, "latency_histogram": nil}, "latency_p99_s is 100: the cell took 1.92"},
		{values{"throughput_rps": "9000"}, values{"throughput_rps": 9000}, "throughput_rps is 9000: by the cell's other figures"},
		{nil, values{"metrics.throughput": 9000}, "throughput_rps is 9000: by the cell's other figures"},
		{nil, values{"latency_s.mean": 0.03}, "latency_mean_s is 0.03: by the cell's other figures"},
		{values{"duration_s": "", "status": "failed", "reason": "x"}, nil, "throughput_rps is 20.833333333333336: there is no duration"},
		{values{"memory_start_bytes": "900000000000"}, values{"memory.stack_start_mib": 900000}, "memory_start_bytes is .* and memory_peak_bytes is .*: the first cannot be above"},
		{values{"gpu_start_bytes": "9", "gpu_peak_bytes": "8"}, nil, "gpu_start_bytes is 9 and gpu_peak_bytes is 8"},
		{values{"pool": "0"}, values{"pool": 0, "run.plan.trials": nil}, "pool cannot be 0"},
		{values{"pool": "7"}, values{"pool": 7, "run.plan.trials": nil}, "pool cannot be 7"},
		{values{"client": "many"}, values{"client": "many", "run.plan.trials": nil}, `client cannot be "many"`},
		{nil, values{"workers": -5, "run.plan.trials": nil}, "workers cannot be -5"},
		{nil, values{"workers": 5}, "server, workers, threads, nginx and axes are not those of the run's plan"},
		{nil, values{"axes": map[string]string{"env.A": "1"}}, "server, workers, threads, nginx and axes are not"},
		{values{"axes": `{"concurrency": "-5"}`}, values{"axes": map[string]string{"concurrency": "-5"}, "run.plan.trials": nil}, `axes.concurrency cannot be "-5"`},
		{values{"axes": `{"replicas": "99999999999999999999"}`}, values{"axes": map[string]string{"replicas": ""}, "run.plan.trials": nil}, `axes.replicas cannot be "`},
		{values{"axes": `[1]`}, nil, `axes cannot be "\[1\]"`},
		{values{"arrivals": "bursts"}, values{"arrivals": "bursts", "run.plan.trials": nil}, `arrivals cannot be "bursts"`},
		{values{"flags": "no-gpu splendid"}, values{"flags": []string{"splendid"}}, `flags cannot be "splendid"`},
		{values{"gpu_validity": "great"}, values{"gpu.validity": "great"}, `gpu_validity cannot be "great"`},
		{values{"out_of_memory": "disk"}, values{"out_of_memory": "disk"}, `out_of_memory cannot be "disk"`},
		{values{"keepalive": "maybe"}, nil, `keepalive cannot be "maybe"`},
		{values{"nginx": ""}, nil, `nginx cannot be ""`},
		{values{"cell_repeats": "-5"}, nil, `cell_repeats cannot be "-5"`},
		{values{"gpu_samples": "-5"}, values{"run.planned": -5}, "(run.planned|gpu_samples) cannot be"},
		{values{"cell_duration_low_s": "3", "cell_duration_high_s": "4"}, nil, "cell_duration_low_s is 3 and cell_duration_median_s is 1.92"},
		{values{"cell_duration_confidence": "1.5"}, nil, "cell_duration_confidence"},
		{values{"reason": "but why"}, values{"reason": "but why"}, `reason cannot be "but why"`},
		{values{"status": "failed"}, values{"status": "failed"}, `reason cannot be ""`},
		{values{"topology": "waitress"}, values{"topology": "waitress"}, `cell cannot be "flask/single/n40": its topology is "waitress"`},
		{values{"cell": "flask/mt5/n40"}, values{"cell": "flask/mt5/n40"}, `its topology is "flask" and its load single/n40`},
		{nil, values{"error_kinds": map[string]int{"status": 3}}, "error_kinds cannot be .*: errors is 0"},
		{nil, values{"run.finished": "2020-01-01T00:00:00Z"}, "run.finished cannot be"},
		{nil, values{"run.measuring_fraction": 1.5}, "run.measuring_fraction cannot be 1.5"},
		{nil, values{"run.spent_s.measure": -1}, "run.spent_s.measure cannot be -1"},
		{values{"run_verdict": "splendid"}, nil, `another row of the run says another`},
	} {
		for format, given := range map[string]values{"csv": test.csv, "json": test.json} {
			if given == nil {
				continue
			}
			_, err := exchange.Read("x", bytes.NewReader(changed(t, format, given)), "")
			if err == nil || !regexp.MustCompile(`^x:([23]: .*| cells\[0\] \(.*\): .*| )`+test.want).MatchString(err.Error()) {
				t.Errorf("%s, %v: %v; want %s", format, given, err, test.want)
			}
		}
	}
	if _, err := exchange.Read("x", bytes.NewReader(changed(t, "csv", map[string]any{"nginx": "FALSE"})), ""); err != nil {
		t.Errorf("as a spreadsheet writes it: %v", err)
	}
}

// TestAttackRedCSV: a run that is not good does not become it by way of CSV, and says
// why as before; that it passed is not believed.
func TestAttackRedCSV(t *testing.T) {
	golden := string(readFile(t, goldens+"repeats.csv.golden"))
	in, err := csv.NewReader(strings.NewReader(golden)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	read := func(rows [][]string, verdict string) (exchange.Imported, string, error) {
		var b bytes.Buffer
		out := csv.NewWriter(&b)
		for i, row := range rows {
			if row = slices.Clone(row); i > 0 {
				row[len(row)-1] = verdict
			}
			_ = out.Write(row)
		}
		out.Flush()
		all, err := exchange.Read("x", bytes.NewReader(b.Bytes()), "")
		if err != nil {
			return exchange.Imported{}, "", err
		}
		counts := all[0].Run.Count(all[0].Records)
		return all[0], words.StandingOf(all[0].Run, &counts).String(), nil
	}
	good := in[:3] // the others failed
	for said, want := range map[string]string{
		"failed: duration < 1us at flask/single/n40": "",
		"failed: errors == 0 at 3 cells; duration < 1.5s at 4 cells; p99 < 1s at 2 cells; 1 more threshold; 4 cells missing": "failed: errors == 0 at 3 cells; duration < 1.5s at 4 cells; p99 < 1s at 2 cells; 1 more threshold; 4 cells missing",
		"failed: 2 cells failed": "failed: 2 cells failed at cells that are not named",
		"failed":                 "", "interrupted": "", "not finished: 2 cells missing": "", "broken night: infrastructure": "",
		"undecided: nothing to compare with":                                                    "",
		"refused: broken night: it is not comparable with run b, from which it differs in kind": "",
		"ok": "", "passed": "ok", "": "ok",
	} {
		if want == "" {
			want = said
		}
		one, got, err := read(good, said)
		if got != want || err != nil {
			t.Errorf("%q read back is %q, %v", said, got, err)
		}
		var b bytes.Buffer
		if err := exchange.WriteJUnit(&b, one.Run, one.Records); err != nil || strings.HasPrefix(said, "failed") != strings.Contains(b.String(), "<failure message=\"failed") {
			t.Errorf("%q: %v, %s", said, err, b.String())
		}
	}
	for said, want := range map[string]string{"splendid": `run_verdict cannot be "splendid": there is passed, failed`, "passed": `run_verdict cannot be "passed"`} {
		rows := good
		if said == "passed" {
			rows = in
		}
		if _, got, err := read(rows, said); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q read back is %q, %v", said, got, err)
		}
	}
}

// TestReadOlderCSV: a file without counts of replies and errors, and without the run's
// verdict, is of a run that counted neither.
func TestReadOlderCSV(t *testing.T) {
	all, err := exchange.Read("x.csv", strings.NewReader("run,cell,repeat,topology,server,client,pool,requests,status,duration_s\nr,flask/mt5/n10,1,flask,flask,mt,5,10,ok,2\n"), "")
	if err != nil || all[0].Records[0].Replies != 10 {
		t.Errorf("%+v, %v", all, err)
	}
}

// FuzzRead: no file makes it panic, and what is read can be reported and, as
// JSON, read again.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"published.csv", "repeats.json.golden", "repeats.csv.golden", "gate.prometheus.golden"} {
		f.Add(readFile(f, goldens+name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := exchange.Read("x", bytes.NewReader(data), "")
		if err != nil {
			return
		}
		for _, one := range all {
			var b bytes.Buffer
			if err := pages.Formats(one.Run, one.Records).Write(&b, "json", report.Options{}); err != nil {
				continue // a time that JSON cannot write
			}
			again, err := exchange.Read("x", bytes.NewReader(b.Bytes()), "")
			if err != nil || len(again) != 1 || len(again[0].Records) != len(one.Records) {
				t.Fatalf("read again: %v", err)
			}
			for _, format := range []string{"table", "csv", "junit", "prometheus", "summary"} { // the page is slow to make
				if err := pages.Formats(one.Run, one.Records).Write(&bytes.Buffer{}, format, report.Options{}); err != nil {
					t.Fatalf("%s: %v", format, err)
				}
			}
		}
	})
}

// TestReadOlderResult: a file that does not say how many cells were planned has a
// plan that does.
func TestReadOlderResult(t *testing.T) {
	s, err := scenarios.Loader{}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app}
topologies: [{name: a, command: [a]}, {name: b, command: [b]}]
matrix: {requests: [10], client: [single]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := exchange.WriteJSON(&b, results.Run{ID: "1", Scenario: "test", Plan: s.Plan()}, nil); err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(b.String(), `"planned": 0,`, "", 1)
	all, err := exchange.Read("older.json", strings.NewReader(older), "")
	if err != nil || len(all) != 1 || all[0].Run.Planned != 2 {
		t.Errorf("read %+v, %v", all, err)
	}
}
