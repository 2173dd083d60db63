package results_test

import (
	"slices"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
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

// TestFiguresAreMetrics: what a threshold can name is what a record has.
func TestFiguresAreMetrics(t *testing.T) {
	var metrics, figures []string
	for _, m := range results.Metrics() {
		metrics = append(metrics, m.Name+" "+string(m.Unit))
	}
	for _, f := range scenarios.Figures() {
		figures = append(figures, f.Name+" "+string(f.Unit))
	}
	slices.Sort(metrics)
	slices.Sort(figures)
	if !slices.Equal(metrics, figures) {
		t.Errorf("thresholds name\n%v\nand results have\n%v", figures, metrics)
	}
}
