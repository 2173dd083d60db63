package exchange_test

import (
	"bytes"
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
	all, err := exchange.Read("x.json", first, "")
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
	csv, err := exchange.Read("x.csv", readFile(t, goldens+"gate.csv.golden"), "")
	if err != nil {
		t.Fatal(err)
	}
	records := all[0].Records
	if len(csv) != 1 || len(records) < 10 || len(csv[0].Records) != len(records) {
		t.Fatalf("%d runs, %d records", len(csv), len(records))
	}
	for i, r := range csv[0].Records {
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
		{"no verdict", `{"schema": 1, "run": {"id": "a", "outcome": "ok", "verdict": "great"}}`, `x: run.verdict "great": there is passed, failed, undecided, refused`},
		{"no outcome", `{"schema": 1, "run": {"id": "a", "outcome": "fine"}}`, `x: run.outcome "fine": there is ok, failed, interrupted, infrastructure`},
		{"newer JSON", `{"schema": 2, "run": {"id": "a"}}`, "schema 1"},
		{"JSON without a cell's name", `{"schema": 1, "run": {"id": "a"}, "cells": [{"repeat": 1}]}`, "x: cells[0]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, err := exchange.Read("x", []byte(test.text), "")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v; want %q", all, err, test.want)
			}
		})
	}
	if _, err := exchange.Read("x", []byte(head+"1,1,flask,,,no,single,1,1,\n"), "2"); err == nil || !strings.Contains(err.Error(), `no table "2"; there are 1`) {
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
		{"errors", "errors", "1", "there were 40 requests"},
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
			_, err := exchange.Read("x", []byte(data), "")
			if err == nil || !strings.HasPrefix(err.Error(), place) || !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("%s = %s: %v; want %s…%s", test.path, test.value, err, place, test.want)
			}
		}
	}
	for format, data := range text {
		if _, err := exchange.Read("x", []byte(data), ""); err != nil {
			t.Errorf("%s as it was: %v", format, err)
		}
	}
}

// FuzzRead: no file makes it panic, and what is read can be reported and, as
// JSON, read again.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"published.csv", "repeats.json.golden", "repeats.csv.golden", "gate.prometheus.golden"} {
		f.Add(readFile(f, goldens+name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := exchange.Read("x", data, "")
		if err != nil {
			return
		}
		for _, one := range all {
			var b bytes.Buffer
			if err := pages.Formats(one.Run, one.Records).Write(&b, "json", report.Options{}); err != nil {
				continue // a time that JSON cannot write
			}
			again, err := exchange.Read("x", b.Bytes(), "")
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
	all, err := exchange.Read("older.json", []byte(older), "")
	if err != nil || len(all) != 1 || all[0].Run.Planned != 2 {
		t.Errorf("read %+v, %v", all, err)
	}
}
