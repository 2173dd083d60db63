package report

import (
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// TestHeadingLanes: a report says how many lanes there were and what was seen of them,
// and where a topology cannot be told from a device.
func TestHeadingLanes(t *testing.T) {
	on := func(topology string, lane int) results.Record {
		return results.Record{Topology: scenarios.Topology{Name: topology}, Status: results.StatusOK, Lane: lane}
	}
	have := []results.Lane{{Devices: []string{"GPU-a"}, Cores: "0-3"}, {Devices: []string{"GPU-b"}, Cores: "4-7"}}
	check := &results.LaneCheck{Lanes: 2, Pairs: 8, Alone: 1, Beside: 1.01, Ratio: 1.01, Low: new(1.005), High: new(1.015)}
	for _, test := range []struct {
		lanes   *results.Lanes
		records []results.Record
		want    string
	}{
		{nil, []results.Record{on("a", 0)}, ""},
		{&results.Lanes{Have: have, Check: check}, []results.Record{on("a", 1), on("a", 2), on("b", 1)},
			"2, each with 1 device and cores of its own; a cell took 1 s alone and 1.01 s with the other lanes busy (×1.010, from 1.005 to 1.015 in 8 pairs)"},
		{&results.Lanes{Have: have}, []results.Record{on("a", 1), on("b", 2)},
			"2, each with 1 device and cores of its own, each topology was measured on one of them, so that ratios between topologies of different lanes are also ratios between devices"},
		{&results.Lanes{Have: have[:1], Check: check, Off: "with 2 " + check.String()}, []results.Record{on("a", 0), on("b", 0)}, "one, because with 2 a cell took 1 s alone and 1.01 s with the other lanes busy (×1.010, from 1.005 to 1.015 in 8 pairs)"},
	} {
		got := ""
		for _, fact := range Heading(results.Run{Lanes: test.lanes}, test.records, nil, "") {
			if strings.HasPrefix(fact.Label, "lanes") {
				got = fact.Text
			}
		}
		if got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
