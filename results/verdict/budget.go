package verdict

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Budget bounds a metric: from above, or, of a metric of which more is
// better, from below. What is equal to the limit is within it.
type Budget struct {
	Metric results.Metric
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
	limit, err := ParseValue(m.Unit, value)
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
	if sample == nil || sample.N < len(s.Speaking) {
		return false, false
	}
	if b.Metric.Higher {
		return sample.Min >= b.Limit, true
	}
	return sample.Max <= b.Limit, true
}

// ParseValue reads a value with its unit, as people write it, in the metric's
// unit: 500ms or 1m30s as seconds, 5GiB as bytes, 10/s, and a bare number for
// a count. It is never negative.
func ParseValue(unit results.Unit, text string) (float64, error) {
	written := strings.TrimSpace(text)
	switch unit {
	case results.UnitSeconds:
		d, err := time.ParseDuration(written)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is no time: write it with its unit, for example 500ms, 2s or 1m30s", text)
		}
		return d.Seconds(), nil
	case results.UnitBytes:
		for _, u := range byteUnits() {
			if number, is := strings.CutSuffix(written, u.name); is {
				if value, ok := plainNumber(number); ok {
					return value * u.bytes, nil
				}
			}
		}
		return 0, fmt.Errorf("%q is no size: write it with one of the units KiB, MiB, GiB and TiB, for example 5GiB", text)
	case results.UnitPerSecond:
		if number, is := strings.CutSuffix(written, "/s"); is {
			if value, ok := plainNumber(number); ok {
				return value, nil
			}
		}
		return 0, fmt.Errorf("%q is no rate: write it as a number for each second, for example 10/s", text)
	}
	if value, ok := plainNumber(written); ok {
		return value, nil
	}
	return 0, fmt.Errorf("%q is no number: this metric has no unit, for example 0", text)
}

type byteUnit struct {
	name  string
	bytes float64
}

func byteUnits() []byteUnit {
	return []byteUnit{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}
}

// plainNumber reads a decimal number that is finite and not negative.
func plainNumber(text string) (float64, bool) {
	text = strings.TrimSpace(text)
	if strings.ContainsAny(text, "xXpP_+-nN") {
		return 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	return value, err == nil && !math.IsInf(value, 0)
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
