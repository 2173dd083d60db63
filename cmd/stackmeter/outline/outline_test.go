package outline_test

import (
	"testing"

	"stackmeter/cmd/stackmeter/outline"
	"stackmeter/results"
	"stackmeter/results/verdict/estimate"
	"stackmeter/scenarios"
)

// TestTook: of each topology the largest figures count, whichever record has them.
func TestTook(t *testing.T) {
	record := func(topology string, memory, gpu int64) results.Record {
		r := results.Record{Topology: scenarios.Topology{Name: topology}}
		if memory > 0 {
			r.Memory.Peak = &memory
		}
		if gpu > 0 {
			r.GPU.OverBaseline = &gpu
		}
		return r
	}
	took := outline.Took([]estimate.Past{
		{Records: []results.Record{record("a", 5, 0), record("b", 0, 0), record("a", 7, 2)}},
		{Records: []results.Record{record("a", 6, 3), record("b", 0, 0)}},
	})
	if len(took) != 2 || *took[0].Memory.Peak != 7 || *took[0].GPU.OverBaseline != 3 || took[1].Memory.Peak != nil || took[1].GPU.OverBaseline != nil {
		t.Errorf("%+v", took)
	}
}
