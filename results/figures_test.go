package results_test

import (
	"testing"

	"stackmeter/results"
)

func TestMetricsAreNilWhereNothingWasMeasured(t *testing.T) {
	for _, m := range results.Metrics() {
		if value := m.Of(new(results.Record)); value != nil {
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

// TestFigures: names and columns are each figure's own, and what is written into
// a record is read from it.
func TestFigures(t *testing.T) {
	seen := map[string]bool{"": true}
	for _, f := range results.Figures() {
		if seen[f.Column] || f.Name != f.Column && f.Name != "" && seen[f.Name] || f.Name != "" && f.Title == "" {
			t.Errorf("%+v", f)
		}
		seen[f.Column], seen[f.Name] = true, true
		r := results.Record{Duration: new(float64)} // so that it was attempted
		if f.Set(&r, 3); f.Of(&r) != nil && *f.Of(&r) != 3 && f.Column != "throughput_rps" {
			t.Errorf("%s is %v, want 3", f.Column, *f.Of(&r))
		}
	}
}
