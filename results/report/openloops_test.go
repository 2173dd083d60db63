package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/scenarios"
)

func TestOpenLoops(t *testing.T) {
	record := func(l scenarios.LoadSpec, facts results.LoadFacts) results.Record {
		var latency load.Latency
		for i := range l.Requests {
			latency.Record(time.Duration(10+i) * time.Millisecond)
		}
		seconds := 2.0
		return results.Record{
			Topology: scenarios.Topology{Name: "flask", Server: "flask"},
			Cell:     scenarios.Cell{Name: "flask/" + l.Name(), Repeat: 1, Load: l},
			Status:   results.StatusOK, Duration: &seconds, Replies: l.Requests, Latency: &latency, Load: facts,
		}
	}
	late := &results.Spread{P50: 1e-5, P99: 3e-3, Max: 4e-3}
	text := render(t, "table", results.Run{}, []results.Record{
		record(scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientOpen, Pool: scenarios.OpenPool, Rate: 20, Arrivals: scenarios.ArrivalsPoisson}, results.LoadFacts{Lateness: late, Late: 3}),
		record(scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientOpen, Pool: scenarios.OpenPool, P99: time.Second}, results.LoadFacts{Lateness: late, Search: &load.Search{P99: time.Second, Rate: 41.5}}),
		record(scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientOpen, Pool: 8}, results.LoadFacts{}),
	}, report.Options{Width: 160})
	for _, line := range []string{
		"flask/open20-poisson/n40 20/s 20.0/s 29.0 ms 49.0 ms 49.0 ms 3 of 40",
		"flask/open-p99-1s/n40 41.5/s (found) 20.0/s 29.0 ms 49.0 ms 49.0 ms 0 of 40",
		"flask/openmax-pool8/n40 max 20.0/s 29.0 ms 49.0 ms 49.0 ms –",
	} {
		found := false
		for got := range strings.Lines(text) {
			found = found || strings.Join(strings.Fields(got), " ") == line
		}
		if !found {
			t.Errorf("there is no line %q in\n%s", line, text)
		}
	}
	closed := record(scenarios.LoadSpec{Requests: 4, Client: scenarios.ClientSingle, Pool: 1}, results.LoadFacts{})
	if text := render(t, "table", results.Run{}, []results.Record{closed}, report.Options{}); strings.Contains(text, "Open loops") {
		t.Errorf("without an open loop:\n%s", text)
	}
}

// TestSearchThatTheClientEnded: what a search tried stands there with what the
// client had to do with it.
func TestSearchThatTheClientEnded(t *testing.T) {
	search := &load.Search{P99: 100 * time.Millisecond, Rate: 86, Probes: []load.Probe{
		{Rate: 86, Achieved: 85.04, P99: 58_800 * time.Microsecond, Service: 41 * time.Millisecond, Late: 0.58, Holds: true, Flags: []string{load.FlagClientLate}},
		{Rate: 89.8, Achieved: 85, P99: 131 * time.Millisecond, Service: 41 * time.Millisecond, Late: 0.84, Flags: []string{load.FlagClientLate}},
		{Rate: 172, Errors: 3},
	}}
	for name, test := range map[string]struct {
		bound []string // flags of the lowest rate that did not hold
		says  bool
	}{
		"the client": {[]string{load.FlagClientLate}, true},
		"the stack":  {nil, false},
	} {
		search.Probes[1].Flags = test.bound
		var text bytes.Buffer
		rec := results.Record{Status: results.StatusOK, Load: results.LoadFacts{Search: search}}
		if err := report.WriteLoad(&text, results.Run{}, rec, report.Options{}); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(text.String()), " ")
		for _, want := range []string{"86/s 85.0/s 58.8 ms 0 58% yes", "89.8/s 85.0/s 131 ms 0 84% no", "172/s – – 3 0% no"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: there is no %q in\n%s", name, want, &text)
			}
		}
		const says = "At 89.8/s it was the client that did not keep up (client-late): the stack may hold more."
		if strings.Contains(got, says) != test.says {
			t.Errorf("%s: it says %q: %v, in\n%s", name, says, !test.says, &text)
		}
	}
}

// How long answers lay there before the client read them stands beside the
// latency, which does not have it; where it is not known nothing is said of it.
func TestPickup(t *testing.T) {
	var latency load.Latency
	latency.Record(20 * time.Millisecond)
	for _, pickup := range []*results.Spread{{P50: 8e-5, P99: 1.2e-4, Max: 3e-3}, nil} {
		var text bytes.Buffer
		rec := results.Record{Status: results.StatusOK, Replies: 1, Latency: &latency, Load: results.LoadFacts{Pickup: pickup}}
		if err := report.WriteLoad(&text, results.Run{}, rec, report.Options{}); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(strings.Fields(text.String()), " ")
		for _, want := range []string{"read later by 80.0 µs 120 µs 3.00 ms", "Latency ends when the answer's last byte had reached this machine"} {
			if strings.Contains(got, want) != (pickup != nil) {
				t.Errorf("pickup %v: %q is there: %v, in\n%s", pickup, want, pickup == nil, &text)
			}
		}
	}
}
