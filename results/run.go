package results

import (
	"maps"
	"slices"
)

// Outcomes of a run. A run that has none is under way, or was killed.
const (
	OutcomeOK             = "ok"             // every cell is ok
	OutcomeFailed         = "failed"         // some cells failed, or were pruned
	OutcomeInterrupted    = "interrupted"    // by the user, or by a signal
	OutcomeInfrastructure = "infrastructure" // the run itself could not go on
)

// SpentTotal is the wall time in seconds that the run accounts for, over all
// its phases. It is not the time from Started to Finished: a run that was
// killed and resumed the next morning did nothing in between.
func (r Run) SpentTotal() float64 {
	var total float64
	for _, phase := range slices.Sorted(maps.Keys(r.Spent)) {
		total += r.Spent[phase] // in one order, so that the sum is always the same
	}
	return total
}

// MeasuringFraction is the share, from 0 to 1, of the run's accounted wall
// time that went into measuring; nil while nothing is accounted for.
func (r Run) MeasuringFraction() *float64 {
	total := r.SpentTotal()
	if total <= 0 {
		return nil
	}
	fraction := r.Spent[PhaseMeasure] / total
	return &fraction
}

// Counts are the numbers of cells of a run, each repeat counted by itself.
type Counts struct {
	OK      int
	Failed  int
	Pruned  int
	Planned int // see Run.Planned
}

// Missing is how many planned cells hold no record: they were never reached,
// or interrupted.
func (c Counts) Missing() int { return max(0, c.Planned-c.OK-c.Failed-c.Pruned) }

// Bad is how many cells were to be measured and were not.
func (c Counts) Bad() int { return c.Failed + c.Pruned }

// Count counts the run's planned cells and the records that it holds of them.
func (r Run) Count(records []Record) Counts {
	counts := Counts{Planned: r.Planned}
	for _, record := range records {
		switch record.Status {
		case StatusOK:
			counts.OK++
		case StatusPruned:
			counts.Pruned++
		default:
			counts.Failed++
		}
	}
	return counts
}

// Verdicts of a run about its thresholds. A run without any has none.
const (
	VerdictPassed  = "passed"  // complete, every cell ok, and no threshold broken
	VerdictFailed  = "failed"  // a cell failed, was pruned or is missing, or a threshold is broken
	VerdictRefused = "refused" // the baseline differs in kind, so that thresholds could not be judged
)

// Statuses of a Check.
const (
	CheckOK          = "ok"
	CheckBroken      = "broken"
	CheckUndecided   = "undecided"    // over the limit, and so few repeats cannot tell that from noise; counts as broken
	CheckNotMeasured = "not measured" // a figure that it names is null, it divides by 0, or the cell failed or was pruned; counts as broken
	CheckNoise       = "within noise" // over the limit, and no difference from the baseline is shown; counts as kept
	CheckNoBaseline  = "no baseline"  // the baseline has no such cell or figure, or there is none; counts as kept
)

// A Check is one threshold applied to one cell.
type Check struct {
	Threshold string             `json:"threshold"`
	Cell      string             `json:"cell"`
	Status    string             `json:"status"`
	Values    map[string]float64 `json:"values,omitempty"` // of the cell, in base units; those that were measured
	Base      map[string]float64 `json:"base,omitempty"`   // of the baseline's cell
	Missing   []string           `json:"missing,omitempty"`
	Repeat    int                `json:"repeat,omitempty"`      // whose values these are; 0: medians
	P         *float64           `json:"p,omitempty"`           // of the change, one-sided
	Corrected *float64           `json:"p_corrected,omitempty"` // for the Tests of the threshold (Holm)
	Tests     int                `json:"tests,omitempty"`
	Needs     int                `json:"needs_repeats,omitempty"`
}

// Broken reports whether the check fails a run: nothing that could not be
// judged passes for want of a figure.
func (c Check) Broken() bool {
	return c.Status == CheckBroken || c.Status == CheckUndecided || c.Status == CheckNotMeasured
}
