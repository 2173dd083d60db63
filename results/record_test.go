package results_test

import (
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

func TestRecord(t *testing.T) {
	duration := 20.0
	r := results.Record{
		Topology: scenarios.Topology{Name: "flask"},
		Cell:     scenarios.Cell{Repeat: 2, Load: scenarios.LoadSpec{Requests: 100, Client: scenarios.ClientMT, Pool: 5}},
		Status:   results.StatusOK, Duration: &duration, Replies: 90, Errors: 10,
	}
	if want := (results.Key{Topology: "flask", Load: "mt5/n100", Repeat: 2}); r.Key() != want {
		t.Errorf("Key = %+v, want %+v", r.Key(), want)
	}
	if got := r.Throughput(); got == nil || *got != 4.5 {
		t.Errorf("Throughput = %v, want 4.5: errors are no replies", got)
	}
	if f := (results.Record{Status: results.StatusFailed}); f.Throughput() != nil || f.Attempted() {
		t.Errorf("a record whose load was never fired has throughput %v, attempted %v", f.Throughput(), f.Attempted())
	}
}

func TestMeasuringFraction(t *testing.T) {
	if got := (results.Run{}).MeasuringFraction(); got != nil {
		t.Errorf("of a run that accounts for nothing: %v, want nil", *got)
	}
	run := results.Run{Spent: map[string]float64{results.PhaseMeasure: 30, results.PhaseStart: 5, results.PhaseOther: 5}}
	if got := run.MeasuringFraction(); got == nil || *got != 0.75 {
		t.Errorf("MeasuringFraction = %v, want 0.75", got)
	}
}
