package exchange

import (
	"io"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
)

// A jsonRecommendation is what `recommend --format json` prints. Figures are
// in base units.
type jsonRecommendations struct {
	Schema  int                  `json:"schema"`
	Run     string               `json:"run"`
	Verdict string               `json:"verdict"` // the run's, with the reasons
	Under   []jsonBudget         `json:"under"`
	Memory  string               `json:"memory"`   // the metric of the memory that is traded
	For     *float64             `json:"for_rate"` // requests per second that copies are counted for
	Loads   []jsonRecommendation `json:"loads"`
}

type jsonRecommendation struct {
	Load       string       `json:"load"`
	Requests   int          `json:"requests"`
	Objective  string       `json:"objective"` // what the topology is chosen by: for an open loop at a rate the memory, where duration or throughput was asked for
	Best       *jsonChoice  `json:"best"`      // null when nothing fits
	RunnerUp   *jsonChoice  `json:"runner_up"`
	More       *jsonChoice  `json:"more_memory"`
	Less       *jsonChoice  `json:"less_memory"`
	PassedOver *jsonChoice  `json:"passed_over"`
	Ratio      *jsonRatio   `json:"of_baseline"` // of the objective
	Front      []string     `json:"front"`       // cells, whatever the budgets
	Fitting    []string     `json:"fitting"`
	Over       []jsonExcess `json:"over"`
	Excluded   int          `json:"excluded"`
	Scheduled  int          `json:"scheduled"`
	NotHeld    int          `json:"not_held"` // stacks that did not serve the load's rate
	Copies     *int         `json:"copies"`   // of the best that the rate takes
	Unmeasured int          `json:"unmeasured"`
}

type jsonBudget struct {
	Metric string  `json:"metric"`
	Limit  float64 `json:"limit"`
	Floor  bool    `json:"floor"` // the limit is from below
}

type jsonChoice struct {
	Cell      string      `json:"cell"`
	Topology  string      `json:"topology"`
	Load      string      `json:"load"`
	Objective *jsonSample `json:"objective"`
	Memory    *jsonSample `json:"memory"`
	Flags     []string    `json:"flags"`
	Over      bool        `json:"over_budget"` // it does not fit, and is only what another budget would buy
	// Doubts are the flags that void a metric that the choice is by, by metric.
	Doubts  map[string][]string `json:"doubts,omitempty"`
	Against *jsonDifference     `json:"against_best,omitempty"`
}

type jsonDifference struct {
	Change   *float64        `json:"change"`                 // of the objective, as a share of the best's; null where that is 0
	Measured *float64        `json:"measured,omitempty"`     // change in the repeats by which the best was picked; change is what is to be expected
	Interval *stats.Interval `json:"interval"`               // of that share
	Rounds   int             `json:"rounds"`                 // that both have: where there are enough, all is from their pairs
	Across   bool            `json:"across_lanes,omitempty"` // the two were measured in different lanes
	P        float64         `json:"p"`
	Shown    bool            `json:"shown"`
	Able     bool            `json:"able"` // so many repeats could have shown one
	Bytes    *float64        `json:"memory_bytes"`
}

// A jsonRatio is a cell's figure as a share of another cell's.
type jsonRatio struct {
	Ratio    float64         `json:"ratio"`
	Measured *float64        `json:"measured,omitempty"` // in the repeats by which one of the two was picked as the best; ratio is what is to be expected
	Interval *stats.Interval `json:"interval"`
	Rounds   int             `json:"rounds"`
	Across   bool            `json:"across_lanes,omitempty"` // the two were measured in different lanes
}

func newJSONRatio(r verdict.Relation) *jsonRatio {
	if r.Ratio == nil {
		return nil
	}
	return &jsonRatio{*r.Ratio, r.Measured, r.Interval, r.Rounds, r.Across}
}

type jsonExcess struct {
	Cell   string      `json:"cell"`
	Metric string      `json:"metric"`
	Value  *jsonSample `json:"value"`  // null where it is not known of every repeat
	Repeat *int        `json:"repeat"` // the one that is the farthest beyond the budget; null likewise
	Worst  *float64    `json:"worst"`  // its value
}

// WriteRecommendationJSON writes what a run recommends for each load, and how many of it
// a rate takes, in requests per second, unless that is 0.
func WriteRecommendationJSON(w io.Writer, run results.Run, loads []verdict.Recommendation, rate float64) error {
	out := jsonRecommendations{
		Schema: schema, Run: run.ID, Verdict: words.StandingOf(run, run.Counts).String(),
		Under: []jsonBudget{}, Loads: []jsonRecommendation{},
	}
	if rate > 0 {
		out.For = &rate
	}
	for i, r := range loads {
		if i == 0 {
			out.Memory = results.PeakMetric(r.Frontier.Memory)
			for _, b := range r.Goal.Under {
				out.Under = append(out.Under, jsonBudget{b.Metric.Name, b.Limit, b.Metric.Higher})
			}
		}
		out.Loads = append(out.Loads, newJSONRecommendation(r, rate))
	}
	return encode(w, out)
}

func newJSONRecommendation(r verdict.Recommendation, rate float64) jsonRecommendation {
	out := jsonRecommendation{
		Load: verdict.ModeName(r.Load), Requests: r.Frontier.Requests, Objective: r.Goal.Objective.Name, Ratio: newJSONRatio(r.Ratio),
		Front: names(r.Frontier.Members), Fitting: names(r.Fitting), Over: []jsonExcess{},
		Excluded: r.Frontier.Excluded, Scheduled: r.Frontier.Scheduled, Unmeasured: r.Frontier.Unmeasured, NotHeld: r.NotHeld,
	}
	if copies := r.Copies(rate); copies > 0 {
		out.Copies = &copies
	}
	for _, e := range r.Over {
		over := jsonExcess{Cell: e.Summary.Name(), Metric: e.Budget.Metric.Name, Value: newJSONSample(e.Sample)}
		if e.Repeat > 0 {
			over.Repeat, over.Worst = &e.Repeat, &e.Value
		}
		out.Over = append(out.Over, over)
	}
	one := func(s verdict.Summary) *jsonChoice {
		return &jsonChoice{
			Cell: s.Name(), Topology: s.Topology.Name, Load: s.Load.Name(),
			Objective: newJSONSample(s.Sample(r.Goal.Objective)), Memory: newJSONSample(s.Peak(r.Frontier.Memory)),
			Flags: slices.Concat([]string{}, s.Flags), Doubts: doubtsOf(s, r.Metrics()...), Over: r.IsOver(s),
		}
	}
	beside := func(c *verdict.Choice) *jsonChoice {
		if c == nil {
			return nil
		}
		choice := one(c.Summary)
		choice.Against = &jsonDifference{c.Change, nil, c.Relation.Interval, c.Rounds, c.Across, c.P, c.Shown, c.Able, c.Bytes}
		if c.Measured != nil {
			choice.Against.Measured = new(*c.Measured - 1)
		}
		if interval := choice.Against.Interval; interval != nil {
			choice.Against.Interval = &stats.Interval{Low: interval.Low - 1, High: interval.High - 1, Confidence: interval.Confidence}
		}
		return choice
	}
	if r.Best != nil {
		out.Best = one(*r.Best)
	}
	out.RunnerUp, out.More, out.Less, out.PassedOver = beside(r.RunnerUp), beside(r.More), beside(r.Less), beside(r.PassedOver)
	return out
}

func names(summaries []verdict.Summary) []string {
	all := make([]string, 0, len(summaries))
	for _, s := range summaries {
		all = append(all, s.Name())
	}
	return all
}
