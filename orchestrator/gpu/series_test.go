package gpu

import (
	"testing"
	"time"
)

// at makes samples at milliseconds; a negative figure is a failed reading.
func at(pairs ...int64) []sample {
	var s []sample
	for i := 0; i < len(pairs); i += 2 {
		p := sample{at: time.Duration(pairs[i]) * time.Millisecond}
		if pairs[i+1] >= 0 {
			p.used = []int64{pairs[i+1]}
		}
		s = append(s, p)
	}
	return s
}

func TestGaps(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name         string
		samples      []sample
		longest, p99 time.Duration
	}{
		{"none", nil, 100 * ms, 100 * ms},
		{"even", at(20, 1, 40, 1, 60, 1, 80, 1, 100, 1), 20 * ms, 20 * ms},
		{"began late", at(70, 1, 90, 1), 70 * ms, 70 * ms},
		{"died early", at(10, 1, 20, 1), 80 * ms, 80 * ms},
		{"failed readings are gaps", at(20, 1, 40, -1, 60, -1, 80, 1), 60 * ms, 60 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if longest, p99 := gaps(tt.samples, 0, 100*ms); longest != tt.longest || p99 != tt.p99 {
				t.Errorf("gaps = %v, %v, want %v, %v", longest, p99, tt.longest, tt.p99)
			}
		})
	}
}

func TestGapsP99(t *testing.T) {
	var s []sample
	for i := range int64(999) {
		s = append(s, at(20*(i+1), 1)...)
	}
	to := s[len(s)-1].at + time.Second
	if longest, p99 := gaps(s, 0, to); longest != time.Second || p99 != 20*time.Millisecond {
		t.Errorf("gaps = %v, %v, want one long gap in a thousand to be no 99th percentile", longest, p99)
	}
}

func TestThinKeepsThePeak(t *testing.T) {
	for spike := range int64(1000) {
		var s []sample
		for i := range int64(1000) {
			used := int64(100)
			if i == spike {
				used = 4000
			}
			s = append(s, at(i*20, used)...)
		}
		points := thin(s, 0, 60)
		if len(points) > 60 {
			t.Fatalf("%d points, want at most 60", len(points))
		}
		top := int64(0)
		for i, p := range points {
			top = max(top, *p.Used)
			if i > 0 && p.At <= points[i-1].At {
				t.Fatalf("points are not in order at %v", p.At)
			}
		}
		if top != 4000 {
			t.Fatalf("the spike at sample %d is lost", spike)
		}
	}
}

func TestThinEdges(t *testing.T) {
	if got := thin(at(0, 1), 0, -1); got != nil {
		t.Errorf("thin, switched off = %v", got)
	}
	if got := thin(at(0, 1, 20, -1), 0, 10); len(got) != 2 || got[1].Used != nil {
		t.Errorf("thin of a failed reading = %v, want a point without a figure", got)
	}
	if got := thin(at(0, -1, 20, -1, 40, 7, 60, -1), 0, 1); len(got) != 1 || got[0].Used == nil || *got[0].Used != 7 {
		t.Errorf("thin = %v, want the one that succeeded", got)
	}
}

func TestWindow(t *testing.T) {
	s := at(0, 1, 20, 2, 40, 3, 60, 4)
	got := window(s, 20*time.Millisecond, 40*time.Millisecond)
	if len(got) != 2 || got[0].total() != 2 || got[1].total() != 3 {
		t.Errorf("window = %v, want both edges included", got)
	}
}

func TestUntilTick(t *testing.T) {
	ms := time.Millisecond
	for elapsed, want := range map[time.Duration]time.Duration{0: 20 * ms, 5 * ms: 15 * ms, 20 * ms: 20 * ms, 77 * ms: 3 * ms} {
		if got := untilTick(elapsed, 20*ms); got != want {
			t.Errorf("untilTick(%v) = %v, want %v", elapsed, got, want)
		}
	}
}
