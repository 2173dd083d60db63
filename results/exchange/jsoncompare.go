package exchange

import (
	"io"
	"slices"
	"time"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
)

type jsonComparison struct {
	Schema      int                  `json:"schema"`
	Verdict     string               `json:"verdict"` // passed, failed or undecided, with the reasons, as everywhere
	Base        jsonCompared         `json:"base"`
	Head        jsonCompared         `json:"head"`
	Disparities []verdict.Disparity  `json:"disparities"`
	Notes       []verdict.Disparity  `json:"notes"` // of the machines, that are no reason not to compare
	Cells       []jsonCellComparison `json:"cells"`
	Checks      []results.Check      `json:"checks"`
	Nights      int                  `json:"nights"`         // whose spread is in the changes; 0: none are known, and they are of repeats alone
	Mean        bool                 `json:"mean,omitempty"` // the changes are from the mean of the nights
}

type jsonCompared struct {
	ID       string `json:"id"`
	Scenario string `json:"scenario"`
	Started  string `json:"started"`
	Verdict  string `json:"verdict"` // with the reasons; of a file only what it says of itself
}

func newJSONCompared(r results.Run) jsonCompared {
	return jsonCompared{r.ID, r.Scenario, r.Started.UTC().Format(time.RFC3339Nano), words.StandingOf(r, r.Counts).String()}
}

type jsonCellComparison struct {
	Cell    string       `json:"cell"`
	State   string       `json:"state"`
	Base    *jsonSide    `json:"base"` // null where the run does not have the cell
	Head    *jsonSide    `json:"head"`
	Changes []jsonChange `json:"changes"`
}

// A jsonSide is what one run made of a cell: repeats by status, and answers
// that were not as expected over all of them.
type jsonSide struct {
	OK     int                 `json:"ok"`
	Failed int                 `json:"failed"`
	Pruned int                 `json:"pruned"`
	Errors int                 `json:"errors"`
	Flags  []string            `json:"flags"`
	Doubts map[string][]string `json:"doubts,omitempty"` // the flags that void a metric, by metric
}

func newJSONSide(s *verdict.Summary, metrics []results.Figure) *jsonSide {
	if s == nil {
		return nil
	}
	return &jsonSide{s.OK, s.Failed, s.Pruned, s.Errors, slices.Concat([]string{}, s.Flags), doubtsOf(*s, metrics...)}
}

// doubtsOf lists, by metric, the flags of a cell that void it.
func doubtsOf(s verdict.Summary, metrics ...results.Figure) map[string][]string {
	doubts := map[string][]string{}
	for _, m := range metrics {
		if flags := s.Doubts(m); len(flags) > 0 {
			doubts[m.Name] = flags
		}
	}
	return doubts
}

// A jsonChange has shares: 0.05 is 5% more.
type jsonChange struct {
	Metric   string          `json:"metric"`
	Base     *jsonSample     `json:"base"`
	Head     *jsonSample     `json:"head"`
	Change   *float64        `json:"change"`     // null from 0, of which nothing is a share
	Absolute *float64        `json:"difference"` // in the metric's base unit
	Interval *stats.Interval `json:"interval"`
	P        *float64        `json:"p"`
	// Corrected is p after Holm's correction for the Compared cells; Shown and
	// Able are of it.
	Corrected *float64 `json:"p_corrected"`
	Compared  int      `json:"compared,omitempty"`
	Nights    int      `json:"nights,omitempty"` // whose spread is in the change, its interval and p
	Shown     bool     `json:"shown"`
	Able      bool     `json:"able"` // so many repeats could have shown a difference
	Needs     int      `json:"needs_repeats,omitempty"`
	Erring    bool     `json:"erring,omitempty"` // a side has no repeat without errors: nothing is tested
}

// WriteComparisonJSON writes a comparison and the checks of its thresholds.
func WriteComparisonJSON(w io.Writer, c verdict.Comparison, checks []results.Check) error {
	report := jsonComparison{
		Schema: schema, Verdict: words.StandingOfComparison(c, checks).String(), Base: newJSONCompared(c.Base), Head: newJSONCompared(c.Head),
		Disparities: slices.Concat([]verdict.Disparity{}, c.Disparities),
		Notes:       slices.Concat([]verdict.Disparity{}, c.Notes), Cells: []jsonCellComparison{},
		Checks: slices.Concat([]results.Check{}, checks), Nights: c.Nights, Mean: c.Mean,
	}
	for _, cell := range c.Cells {
		one := jsonCellComparison{Cell: cell.Name, State: cell.State, Base: newJSONSide(cell.Base, c.Metrics), Head: newJSONSide(cell.Head, c.Metrics), Changes: []jsonChange{}}
		for _, change := range cell.Changes {
			made := jsonChange{Metric: change.Metric.Name, Base: newJSONSample(change.Base), Head: newJSONSample(change.Head), Interval: change.Interval, Erring: change.Erring}
			if change.Base != nil && change.Head != nil && !change.Erring {
				d := change.Difference
				made.Change, made.Absolute, made.P, made.Shown, made.Able, made.Needs = d.Change, new(change.Head.Median-change.Base.Median), &d.P, d.Shown, d.Able, change.Needs
				made.Corrected, made.Compared, made.Nights = &change.Corrected, change.Compared, change.Nights
			}
			one.Changes = append(one.Changes, made)
		}
		report.Cells = append(report.Cells, one)
	}
	return encode(w, report)
}
