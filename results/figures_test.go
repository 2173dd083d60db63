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
