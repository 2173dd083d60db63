package results_test

import (
	"testing"

	"stackmeter/results"
)

func TestMetricsAreNilWhereNothingWasMeasured(t *testing.T) {
	for _, m := range results.Metrics() {
		if value := m.Of(results.Record{}); value != nil {
			t.Errorf("%s of a record that holds nothing is %v", m.Name, *value)
		}
		found, err := results.FindMetric(m.Name)
		if err != nil || found.Title != m.Title {
			t.Errorf("FindMetric(%q) = %+v, %v", m.Name, found, err)
		}
	}
	if _, err := results.FindMetric("speed"); err == nil {
		t.Error("a metric that does not exist was found")
	}
}

func TestSampleInterval(t *testing.T) {
	values := func(n int) []float64 {
		var v []float64
		for i := n; i > 0; i-- {
			v = append(v, float64(i))
		}
		return v
	}
	// Of five repeats the range of all of them holds the median with a
	// confidence of 1-2/2⁵ = 93.75%: one too few.
	for _, n := range []int{1, 2, 3, 5} {
		if s := results.NewSample(values(n)); s.Interval != nil {
			t.Errorf("%d repeats gave an interval: %+v", n, s.Interval)
		}
	}
	s := results.NewSample(values(6))
	if s.Interval == nil || s.Interval.Low != 1 || s.Interval.High != 6 || s.Interval.Confidence != 1-2.0/64 {
		t.Errorf("the interval of six repeats is %+v", s.Interval)
	}
	if s.Median != 3.5 || s.N != 6 || s.Values[0] != 1 {
		t.Errorf("sample of six repeats: %+v", s)
	}
}
