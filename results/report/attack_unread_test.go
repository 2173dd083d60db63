package report_test

import (
	"strings"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/report"
)

// TestAttackUnreadIsSaid: every format says why a cell is unverified, of which class the
// workers are, and what was in force that nobody asked for. Where nginx got
// no answer for some requests of a cell that is ok, reports show what both sides said.
func TestAttackUnreadIsSaid(t *testing.T) {
	run := sampleRun()
	start := 0.5
	r := measured(nginx, mt5, 1, 1.5, 300)
	r.Flags = []string{results.FlagUnverified, results.FlagErrors}
	r.Errors, r.ErrorKinds = 2, map[string]int{load.ErrStatus: 2}
	r.LogTail = "app | worker gone\nnginx | upstream prematurely closed connection\n"
	concurrency := 100
	r.Stack = &results.Stack{
		Unread: "what the command runs", StartS: &start, Services: []results.Service{{Name: "app"}},
		Class: "gevent", Loop: "uvloop", Concurrency: &concurrency, InForce: []string{"file gunicorn.conf.py", "variable WEB_CONCURRENCY"},
	}
	for format, said := range map[string][]string{
		"table":    {"unverified", "not read back: what the command runs", "gevent, uvloop, concurrency 100", "in force beside", "CONCURRENCY", "upstream prematurely"},
		"markdown": {"unverified", "not read back: what the command runs", "gevent, uvloop, concurrency 100", "in force beside", "CONCURRENCY", "upstream prematurely"},
		"html":     {"unverified", "not read back", "what the command runs", "gevent, uvloop, concurrency 100", "file gunicorn.conf.py, variable WEB_CONCURRENCY", "upstream prematurely"},
		"json":     {"unverified", `"unread": "what the command runs"`, `"class": "gevent"`, `"concurrency": 100`, `"loop": "uvloop"`, "variable WEB_CONCURRENCY", "upstream prematurely"},
		"csv":      {"unverified"},
	} {
		text := render(t, format, run, []results.Record{r}, report.Options{})
		for _, one := range said {
			if !strings.Contains(text, one) {
				t.Errorf("%s does not say %q", format, one)
			}
		}
	}
}
