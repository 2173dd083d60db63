package verdict

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/show"
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
	return !b.breaks(sample.Min) && !b.breaks(sample.Max), true
}

// breaks is whether a value is beyond the budget.
func (b Budget) breaks(value float64) bool {
	return b.Metric.Higher && value < b.Limit || !b.Metric.Higher && value > b.Limit
}

// worst is the repeat that is the farthest beyond the budget, and its value.
func (b Budget) worst(s Summary) (repeat int, value float64) {
	for _, r := range s.Speaking {
		v := b.Metric.Of(&r)
		if v != nil && b.breaks(*v) && (repeat == 0 || b.Metric.Higher && *v < value || !b.Metric.Higher && *v > value) {
			repeat, value = r.Cell.Repeat, *v
		}
	}
	return repeat, value
}

// In is a value that is beyond the budget in the unit that the budget was written in,
// with as many digits as show that it is.
func (b Budget) In(value float64) string {
	name := strings.TrimSpace(b.Text[strings.LastIndexAny(b.Text, "0123456789.")+1:])
	scale, err := units.Parse("1"+name, b.Metric.Unit)
	if err != nil {
		name, scale = "", 1 // it was parsed before, so that there is no such budget
	}
	const fine = 0.002 // how far it may be rounded, as a share
	text := ""
	for decimals := range 10 {
		text = strconv.FormatFloat(value/scale, 'f', decimals, 64)
		shown, _ := strconv.ParseFloat(text, 64)
		if b.breaks(shown*scale) && math.Abs(shown*scale-value) < min(math.Abs(value-b.Limit)/2, fine*math.Abs(value)) {
			break
		}
	}
	if name == "%" || name == "" {
		return text + name
	}
	return text + " " + name
}

// Bounds are the budgets of the goal, each in words: p99 ≤ 2s.
func (g Goal) Bounds() []string {
	var bounds []string
	for _, b := range g.Under {
		sign := "≤"
		if b.Metric.Higher {
			sign = "≥"
		}
		bounds = append(bounds, fmt.Sprintf("%s %s %s", b.Metric.Name, sign, show.Line(b.Text)))
	}
	return bounds
}

// NewGoal reads what a scenario recommends for. Its budgets are in the order
// of their metrics' names.
func NewGoal(r goals.Recommend) (Goal, error) {
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
