package load_test

import (
	"testing"
	"time"

	"stackmeter/orchestrator/load"
)

func TestBins(t *testing.T) {
	var l load.Latency
	if bins := l.Bins(10); bins != nil {
		t.Errorf("bins of nothing: %v", bins)
	}
	l.Record(7 * time.Millisecond)
	if bins := l.Bins(10); len(bins) != 1 || bins[0].Count != 1 {
		t.Errorf("bins of one duration: %v", bins)
	}
	for range 3 {
		l.Record(7 * time.Millisecond)
	}
	for i := range 90 {
		l.Record(time.Duration(i+1) * time.Second)
	}
	bins := l.Bins(9)
	if len(bins) != 9 || bins[0].From != l.Min() || bins[8].To != l.Max() {
		t.Fatalf("bins %v", bins)
	}
	var all int64
	for i, b := range bins {
		all += b.Count
		if i > 0 && b.From != bins[i-1].To {
			t.Errorf("bin %d begins at %s, the one before ends at %s", i, b.From, bins[i-1].To)
		}
	}
	if all != l.Count() || bins[0].Count != 4+10 || bins[4].Count != 10 {
		t.Errorf("counts: %v", bins)
	}
}
