package load

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

func latencyOf(durations ...time.Duration) *Latency {
	l := new(Latency)
	for _, d := range durations {
		l.Record(d)
	}
	return l
}

func TestPercentile(t *testing.T) {
	hundred := new(Latency)
	for i := 1; i <= 100; i++ {
		hundred.Record(time.Duration(i) * time.Millisecond)
	}
	const ms = time.Millisecond
	cases := map[string]struct {
		of   *Latency
		p    float64
		want time.Duration
	}{
		"of none":                 {new(Latency), 50, 0},
		"of one, 0th":             {latencyOf(7 * ms), 0, 7 * ms},
		"of one, 50th":            {latencyOf(7 * ms), 50, 7 * ms},
		"of one, 99th":            {latencyOf(7 * ms), 99, 7 * ms},
		"of two, 50th":            {latencyOf(9*ms, 1*ms), 50, 1 * ms},
		"of two, 51st":            {latencyOf(9*ms, 1*ms), 51, 9 * ms},
		"of two, 99th":            {latencyOf(9*ms, 1*ms), 99, 9 * ms},
		"of three, median":        {latencyOf(3*ms, 1*ms, 2*ms), 50, 2 * ms},
		"of a hundred, median":    {hundred, 50, 50 * ms},
		"of a hundred, 99th":      {hundred, 99, 99 * ms},
		"of a hundred, 99.1th":    {hundred, 99.1, 100 * ms},
		"of a hundred, 100th":     {hundred, 100, 100 * ms},
		"beyond 100":              {hundred, 200, 100 * ms},
		"shorter than resolution": {latencyOf(10 * time.Nanosecond), 50, 10 * time.Nanosecond},
		"longer than the range":   {latencyOf(5 * time.Hour), 50, 5 * time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.of.Percentile(tc.p)
			if diff := (got - tc.want).Abs(); diff > tc.want/1000 {
				t.Errorf("got %v, want %v within 0.1%%", got, tc.want)
			}
		})
	}
}

func TestLatencyExactFigures(t *testing.T) {
	l := latencyOf(1500*time.Nanosecond, 4500*time.Nanosecond, -1, 2*time.Hour)
	if l.Count() != 4 || l.Min() != 0 || l.Max() != 2*time.Hour || l.Mean() != (2*time.Hour+6000)/4 {
		t.Errorf("count %d, min %v, mean %v, max %v", l.Count(), l.Min(), l.Mean(), l.Max())
	}
}

// The histograms of many processes, each sent in its binary form and merged, are the
// same as one histogram of all samples.
func TestMergeIsLossless(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var all, merged Latency
	for range 20 {
		var one Latency
		for range random.IntN(500) {
			d := time.Duration(random.ExpFloat64() * float64(20*time.Millisecond))
			one.Record(d)
			all.Record(d)
		}
		wire, err := one.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back Latency
		if err := back.UnmarshalBinary(wire); err != nil {
			t.Fatal(err)
		}
		merged.Merge(&back)
	}
	want, err := all.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	got, err := merged.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the merged histogram differs from the one of all samples")
	}
}

func TestLatencyJSON(t *testing.T) {
	cases := map[string]struct {
		of   *Latency
		want string
	}{
		"none": {new(Latency), "null"},
		"two":  {latencyOf(time.Millisecond, 3*time.Millisecond), `{"min":0.001,"mean":0.002,"p50":0.001,"p90":0.003,"p99":0.003,"max":0.003}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(tc.of)
			if err != nil || string(got) != tc.want {
				t.Errorf("got %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

func TestLatencyRefusesGarbage(t *testing.T) {
	good, err := latencyOf(time.Millisecond).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(good)
	other[0] = 9
	wrongCount := bytes.Clone(good)
	wrongCount[8]++
	cases := map[string][]byte{
		"nothing": nil, "half": good[:len(good)/2], "another version": other, "a wrong count": wrongCount,
		"a tail only": append(make([]byte, latencyHeader), 'x'),
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			l := latencyOf(time.Second)
			if err := l.UnmarshalBinary(data); err == nil {
				t.Error("was accepted")
			}
			if l.Count() != 1 {
				t.Error("an error changed the histogram")
			}
		})
	}
}

func FuzzLatency(f *testing.F) {
	good, err := latencyOf(time.Millisecond, time.Second).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		var l Latency
		if l.UnmarshalBinary(data) != nil {
			return
		}
		if p := l.Percentile(50); p < l.Min() || p > l.Max() {
			t.Errorf("median %v outside %v to %v", p, l.Min(), l.Max())
		}
	})
}

func TestBins(t *testing.T) {
	var l Latency
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

// TestLatencyOfOlderFiles: the second number was once how many durations were out
// of range. Files of results still have it.
func TestLatencyOfOlderFiles(t *testing.T) {
	l := latencyOf(time.Millisecond, time.Second)
	b, err := l.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	b[1+8+7] = 1
	var got Latency
	if err := got.UnmarshalBinary(b); err != nil || got.Count() != 2 || got.Max() != time.Second {
		t.Errorf("%d durations up to %v, %v", got.Count(), got.Max(), err)
	}
}
