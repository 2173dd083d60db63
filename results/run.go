package results

import (
	"maps"
	"slices"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/scenarios"
)

// Outcomes of a run. A run without an outcome is under way or was killed.
const (
	OutcomeOK             = "ok"             // every cell is ok
	OutcomeFailed         = "failed"         // some cells failed, or were pruned
	OutcomeInterrupted    = "interrupted"    // by the user, or by a signal
	OutcomeInfrastructure = "infrastructure" // the run itself could not go on
)

// Outcomes lists those of a run that has ended.
func Outcomes() []string {
	return []string{OutcomeOK, OutcomeFailed, OutcomeInterrupted, OutcomeInfrastructure}
}

// A Run is one execution of a plan.
type Run struct {
	ID         string            `json:"id"`
	Scenario   string            `json:"scenario"`
	File       string            `json:"file"`
	Started    time.Time         `json:"started"`
	Finished   *time.Time        `json:"finished"` // nil while it runs, and after a kill
	Outcome    string            `json:"outcome"`  // "", "ok", "failed", "interrupted", "infrastructure"
	Runtime    string            `json:"runtime"`
	Host       Host              `json:"host"`
	GPUDevices []gpu.Device      `json:"gpu_devices"`
	Images     map[string]string `json:"images,omitempty"` // content addresses at the start, by TOPOLOGY/SERVICE and, of a client in a container, "load client"
	Lanes      *Lanes            `json:"lanes,omitempty"`  // nil: there was never to be more than one
	Plan       scenarios.Plan    `json:"plan"`             // redacted
	// Fingerprint is the plan's before it was redacted. A run is resumed only
	// with a plan of the same fingerprint. It stays in the store: secrets went
	// into it.
	Fingerprint string             `json:"-"`
	Owner       string             `json:"-"`                  // the process that executes it, as stacks.Owner writes it
	Imported    string             `json:"imported,omitempty"` // the file that it was read from; empty for a run that was measured here
	Verdict     string             `json:"verdict"`            // one of the Verdict constants, or empty
	Against     string             `json:"against,omitempty"`  // the run that was the baseline of its thresholds
	Checks      []Check            `json:"checks,omitempty"`   // of its thresholds, cell by cell
	Answers     []Answer           `json:"answers,omitempty"`  // of a search that has ended, for each load
	Tags        []string           `json:"tags,omitempty"`     // its names, sorted
	Spent       map[string]float64 `json:"spent_s"`            // wall seconds by phase, see the Phase constants
	Planned     int                `json:"planned"`            // cells to measure, each repeat counted separately, without needless ones; of a search, what it measured
	Counts      *Counts            `json:"-"`                  // set by a store
}

// An Answer is what a search found for one load.
type Answer struct {
	Load     string  `json:"load"`     // its name
	Topology string  `json:"topology"` // empty: none is within the budgets, as far as the search came
	Sure     float64 `json:"sure"`     // how sure it is that no other one is better by more than the search asked for, from 0 to 1
	Decided  bool    `json:"decided"`  // as sure as was asked for, or it is known that there is none
	Why      string  `json:"why"`      // all of it in a sentence
}

// Unanswered are the loads for which a search that has ended found no topology.
func (r Run) Unanswered() (loads []string) {
	for _, a := range r.Answers {
		if a.Topology == "" {
			loads = append(loads, a.Load)
		}
	}
	return loads
}

// Phases of a run, on which its wall time is spent.
const (
	PhaseImages  = "images"
	PhaseStart   = "start"
	PhaseReady   = "ready"
	PhaseVerify  = "verify" // reading back what runs, and waiting until it settles
	PhaseWarmup  = "warmup"
	PhasePrepare = "prepare" // preparing the cells' clients, checking on the stack and reading its logs
	PhaseMeasure = "measure" // the cells' durations
	PhaseStop    = "stop"
	PhaseOther   = "other"
)

// Host is the machine that a run ran on.
type Host struct {
	Name       string `json:"name"`
	OS         string `json:"os"`
	Kernel     string `json:"kernel"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     int64  `json:"memory"`
	Engine     string `json:"engine"` // the runtime's, with its version
	Stackmeter string `json:"stackmeter"`
	Go         string `json:"go"`
}

// SpentTotal is the wall time in seconds of all the run's phases. It is not the
// time from Started to Finished: a run that was killed and resumed the next
// morning did nothing in between.
func (r Run) SpentTotal() float64 {
	var total float64
	for _, phase := range slices.Sorted(maps.Keys(r.Spent)) {
		total += r.Spent[phase] // in a fixed order, so that the sum is always the same
	}
	return total
}

// MeasuringFraction is the share of the run's wall time, from 0 to 1, that was
// spent on measuring. It is nil if no time was spent.
func (r Run) MeasuringFraction() *float64 {
	total := r.SpentTotal()
	if total <= 0 {
		return nil
	}
	return new(r.Spent[PhaseMeasure] / total)
}

// Counts are how many cells a run has, each repeat counted separately.
type Counts struct {
	OK      int
	Failed  int
	Pruned  int
	Closed  int // of a search, what did not fit into memory: evidence, and no fault
	Planned int // see Run.Planned
}

// Missing is how many planned cells have no record, because they were never
// reached or were interrupted.
func (c Counts) Missing() int { return max(0, c.Planned-c.OK-c.Failed-c.Pruned-c.Closed) }

// Bad is how many cells could not be measured.
func (c Counts) Bad() int { return c.Failed + c.Pruned }

// Count counts the run's planned cells and its records.
func (r Run) Count(records []Record) Counts {
	counts := Counts{Planned: r.Planned}
	for _, record := range records {
		switch {
		case record.Status == StatusOK:
			counts.OK++
		case r.Plan.Search != nil && (record.Status == StatusPruned || record.OutOfMemory != ""):
			counts.Closed++
		case record.Status == StatusPruned:
			counts.Pruned++
		default:
			counts.Failed++
		}
	}
	return counts
}

// Verdicts on a run. A run that is held against nothing has none, unless a cell
// failed.
const (
	VerdictPassed    = "passed"    // complete, every cell ok, and held against thresholds of which none is broken
	VerdictFailed    = "failed"    // a cell failed, was pruned or is missing, or a threshold is broken
	VerdictUndecided = "undecided" // nothing failed, but what needs a baseline had none, or a change over a limit is not shown; the run has not passed
	VerdictRefused   = "refused"   // the baseline differs in kind, so thresholds could not be checked
)

// Verdicts lists them.
func Verdicts() []string {
	return []string{VerdictPassed, VerdictFailed, VerdictUndecided, VerdictRefused}
}

// Statuses of a Check.
const (
	CheckOK          = "ok"
	CheckBroken      = "broken"
	CheckUndecided   = "undecided"    // over the limit, and nights that vary so much, or so few repeats, cannot show that it is
	CheckDrifted     = "drifted"      // over the limit since the anchor, and shown; counts as kept, because no single night did it
	CheckNotMeasured = "not measured" // a figure is missing, the threshold divides by 0, or the cell failed or was pruned; counts as broken
	CheckNoise       = "within noise" // over the limit, but no difference from the baseline is shown; counts as kept
	CheckNoBaseline  = "no baseline"  // there is no baseline, or it lacks the cell or the figure, which would decide; counts as kept, but see VerdictUndecided
)

// A Check is one threshold applied to one cell.
type Check struct {
	Threshold string             `json:"threshold"`
	Cell      string             `json:"cell"`
	Status    string             `json:"status"`
	Values    map[string]float64 `json:"values,omitempty"` // the cell's measured figures, in base units
	Base      map[string]float64 `json:"base,omitempty"`   // of the baseline's cell
	Missing   []string           `json:"missing,omitempty"`
	Repeat    int                `json:"repeat,omitempty"`      // which Values belong to; 0: medians, or means of logarithms over Nights
	Nights    int                `json:"nights,omitempty"`      // that it is held against; 0: against the repeats of one run
	Cells     int                `json:"cells,omitempty"`       // whose geometric mean it is about; 0: the one Cell
	Since     string             `json:"since,omitempty"`       // the anchor that it is held against; empty: the nights before
	Change    *CheckChange       `json:"change,omitempty"`      // from the nights before
	P         *float64           `json:"p,omitempty"`           // the change's, one-sided
	Corrected *float64           `json:"p_corrected,omitempty"` // P corrected for Tests (Holm)
	Tests     int                `json:"tests,omitempty"`
	Needs     int                `json:"needs_repeats,omitempty"`
}

// A CheckChange is the change of a figure as a share (0.05 is 5% more), with its
// 95% interval.
type CheckChange struct {
	Figure string  `json:"figure"`
	By     float64 `json:"by"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// Broken reports whether the check fails a run. A threshold that could not be
// checked for lack of a figure counts as broken. Whether one that is undecided fails the
// run is for the scenario to say.
func (c Check) Broken() bool {
	return c.Status == CheckBroken || c.Status == CheckNotMeasured
}
