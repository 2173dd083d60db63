package verdict

import (
	"slices"
	"testing"

	"stackmeter/results"
)

func TestStabilityFlags(t *testing.T) {
	load := pooled("mt", 5, 100)
	repeats := func(durations ...float64) []results.Record {
		var records []results.Record
		for i, d := range durations {
			records = append(records, ok(flask(), load, i+1, d, -1))
		}
		return records
	}
	for _, test := range []struct {
		name    string
		records []results.Record
		want    []string
	}{
		{"steady", repeats(10, 10.2, 9.9, 10.1, 10, 9.8), nil},
		{"one repeat", repeats(10), nil},
		{"two that are far apart", repeats(10, 12), []string{FlagUnstable}},
		{"one that was disturbed", repeats(10, 10.1, 14, 10, 9.9), []string{FlagUnstable}},
		{"a trend", repeats(10, 10.2, 10.4, 10.6, 10.8), []string{FlagDrift}},
		{"a trend that is too small to matter", repeats(10, 10.05, 10.1, 10.15, 10.2), nil},
		{"a trend of four is none yet", repeats(10, 10.3, 10.6, 10.9), nil},
		{"the same number of errors in each", []results.Record{
			withErrors(ok(flask(), load, 1, 10, -1), 2), withErrors(ok(flask(), load, 2, 10, -1), 2)}, []string{results.FlagErrors}},
		{"other numbers of errors", []results.Record{
			withErrors(ok(flask(), load, 1, 10, -1), 2), withErrors(ok(flask(), load, 2, 10, -1), 3)},
			[]string{results.FlagErrors, FlagErrorsDiffer}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := Summarise(test.records)[0]
			if !slices.Equal(s.Flags, test.want) {
				t.Errorf("flags %v, want %v; %+v", s.Flags, test.want, s.Stability)
			}
		})
	}
}
