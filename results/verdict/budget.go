package verdict

import (
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// A Budget bounds a metric: from above, or, of a metric of which more is
// better, from below. What is equal to the limit is within it.
type Budget struct {
	Metric results.Figure
	Limit  float64 // in the metric's unit
	Text   string  // as it was written: 5GiB
}

// NewBudget reads a budget, for example gpu_peak and 5GiB, p99 and 500ms, or
// throughput and 10/s. The error says what the metrics or the units are.
func NewBudget(metric, value string) (Budget, error) {
	m, err := results.FindMetric(metric)
	if err != nil {
		return Budget{}, err
	}
	limit, err := units.Parse(value, m.Unit)
	if err != nil {
		return Budget{}, fmt.Errorf("%s: %w", metric, err)
	}
	return Budget{Metric: m, Limit: limit, Text: strings.TrimSpace(value)}, nil
}

// ParseBudget reads a budget in one text: gpu_peak=5GiB.
func ParseBudget(text string) (Budget, error) {
	metric, value, found := strings.Cut(text, "=")
	if !found {
		return Budget{}, fmt.Errorf("%q is no budget: write METRIC=VALUE, for example gpu_peak=5GiB", text)
	}
	return NewBudget(strings.TrimSpace(metric), value)
}

// Meets reports whether every repeat of the cell is within the budget, and
// whether any repeat has the figure at all.
func (b Budget) Meets(s Summary) (meets, known bool) {
	sample := s.Sample(b.Metric)
	if sample == nil || slices.ContainsFunc(s.Speaking, func(r results.Record) bool { return b.Metric.Of(&r) == nil && !r.Spares(b.Metric) }) {
		return false, false
	}
	if b.Metric.Higher {
		return sample.Min >= b.Limit, true
	}
	return sample.Max <= b.Limit, true
}

// NewGoal reads what a scenario recommends for. Its budgets are in the order
// of their metrics' names.
func NewGoal(r scenarios.Recommend) (Goal, error) {
	objective, err := results.FindMetric(r.Objective)
	if err != nil {
		return Goal{}, fmt.Errorf("objective: %w", err)
	}
	goal := Goal{Objective: objective}
	for _, name := range r.Metrics() {
		budget, err := NewBudget(name, r.Under[name])
		if err != nil {
			return Goal{}, fmt.Errorf("under: %w", err)
		}
		goal.Under = append(goal.Under, budget)
	}
	return goal, nil
}
