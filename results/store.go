package results

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/scenarios"
)

// Errors of a Store that a caller can tell apart. They come wrapped, with what
// to do about them.
var (
	ErrNoRun   = errors.New("no such run")
	ErrHeld    = errors.New("already held as ok")
	ErrForeign = errors.New("not a stackmeter store")
	ErrNewer   = errors.New("written by a newer stackmeter")
	ErrDamaged = errors.New("damaged")
	ErrBusy    = errors.New("in use by another program")
	ErrMoved   = errors.New("moved, deleted or replaced while it was open")
	ErrRunning = errors.New("the run is under way")
)

// A Store keeps runs and their records. Package storetest checks every store
// against what is said here.
//
// Several goroutines may use a store, and so may several processes where the
// store outlives its process. A method that writes does all of it or nothing,
// and what it wrote survives a kill once it has returned nil. A method that
// reads sees one moment. A method that writes to a run, and ByID, return ErrNoRun
// where there is no run with the id.
//
// What was written comes back equal: a nil figure as nil, an empty list as
// empty, times in UTC. Text comes back as UTF-8 without NUL: U+FFFD stands for what was
// not. Values that may be secrets are left out of plans and
// topologies (see their Redacted). Neither side changes what is behind the
// pointers, slices and maps of a Run or Record that it has handed over.
type Store interface {
	// Begin enters a run. Its id has to be new and pass CheckName. A tag of it
	// is taken from the run that had it before.
	Begin(ctx context.Context, run Run) error

	// Import enters a run with all its records. Of several of one cell and repeat the
	// last counts.
	Import(ctx context.Context, run Run, records []Record) error

	// Resume marks a run as under way again, executed by another process, with
	// a plan of the same cells. It clears the finishing time, the outcome, the
	// verdict and the answers; the rest stays.
	Resume(ctx context.Context, run string, plan scenarios.Plan, owner string) error

	// Images replaces Run.Images.
	Images(ctx context.Context, run string, images map[string]string) error

	// Lanes replaces Run.Lanes.
	Lanes(ctx context.Context, run string, lanes Lanes) error

	// Devices replaces Run.GPUDevices.
	Devices(ctx context.Context, run string, devices []gpu.Device) error

	// Planned replaces Run.Planned.
	Planned(ctx context.Context, run string, cells int) error

	// Spent adds to the wall time that the run spent on a phase. It may be
	// written with the next write of anything else, or by Close, so that it
	// costs no sync of its own; reading through the same store sees it at once.
	Spent(ctx context.Context, run, phase string, d time.Duration) error

	// Put writes a record. It replaces a failed or pruned one of the same cell
	// and repeat. An ok one is replaced only by itself, the record of the same
	// start, with what became known since; anything else is ErrHeld.
	Put(ctx context.Context, record Record) error

	// Finish records how and when the run ended.
	Finish(ctx context.Context, run, outcome string, at time.Time) error

	// Judged records what the run's thresholds said.
	Judged(ctx context.Context, run, verdict, against string, checks []Check) error

	// Answered records what a search found.
	Answered(ctx context.Context, run string, answers []Answer) error

	// Tag gives the run a name, which is taken from the run that had it before.
	Tag(ctx context.Context, run, tag string) error

	// Untag takes a name away. ErrNoRun: no run has it.
	Untag(ctx context.Context, tag string) error

	// Repeats returns the run's records in the order of their start, at least
	// with what says whether a cell has to be measured: the topology's name,
	// the cell's name and repeat, the status, the errors, the duration, which
	// memory it failed for, and the stack's time to warm up. A run that is not
	// there has none.
	Repeats(ctx context.Context, run string) ([]Record, error)

	// Find returns the id of what a user calls a run, see FindRun.
	Find(ctx context.Context, which string, scope Scope) (string, error)

	// Runs lists the last runs within a scope with their Counts, the one that was
	// started last first, no more than so many; 0: all.
	Runs(ctx context.Context, scope Scope, last int) ([]Run, error)

	// ByID returns the run with this whole id, with its Counts.
	ByID(ctx context.Context, id string) (Run, error)

	// Run returns the run that Find finds in the whole store, and its records
	// in the order of their start. From a damaged store (ErrDamaged) what could
	// be read comes with the error.
	Run(ctx context.Context, which string) (Run, []Record, error)

	// Alike returns the records with one of the fingerprints that are ok, were started
	// since then, and were measured by the run that they are of, by their start.
	Alike(ctx context.Context, fingerprints []string, since time.Time) ([]Record, error)

	// History returns the last runs of a scenario, the oldest first, unfinished
	// ones included, and what they say about one metric of the cells whose name
	// matches a pattern: * stands for any text, ? for one character, [a-c] for
	// one of several; "" matches all. Short cells of a search are not among them, nor is what was reused:
	// the run that measured it has it. Without a scenario it is that of the run
	// that was started last. ErrNoRun: there is no run of the scenario.
	History(ctx context.Context, scenario, pattern, metric string, last int) ([]Run, []Observation, error)

	// Close writes what Spent held back and closes the store. It may be called
	// more than once.
	Close() error
}

// MatchCell reports whether a cell's name matches a pattern of History. A
// pattern that is malformed matches nothing.
func MatchCell(pattern, name string) bool {
	matched, err := path.Match(flat(pattern), flat(name))
	return pattern == "" || matched && err == nil
}

// flat hides slashes from path.Match, whose * would stop at them.
func flat(text string) string { return strings.ReplaceAll(text, "/", "\x00") }

// Names that stand for runs.
const (
	Latest     = "latest"      // the one that was started last
	LastPassed = "last-passed" // the last one whose verdict is VerdictPassed
)

// backwards separates a name from how many runs before it is meant: latest~1.
const backwards = "~"

// CheckName says why a run cannot have the name, as its id or as a tag: FindRun
// would read it as something else. It is nil where the run can.
func CheckName(name string) error {
	if strings.TrimSpace(name) == "" {
		return errors.New("it is empty")
	}
	if name == Latest || name == LastPassed || strings.Contains(name, backwards) {
		return fmt.Errorf("%q stands for another run", name)
	}
	return nil
}

// A Scope bounds which runs are listed, and which Latest and LastPassed can stand for.
type Scope struct {
	Scenario string // only runs of it; empty: of all
	Before   string // only runs that were started before the run with this id, of none no runs; empty: all
}

// FindRun returns the run that a user calls so: by its id, a tag, the beginning
// of an id that no other run shares, Latest (also "") or LastPassed; each may be
// followed by ~N for the Nth run of the same scenario before it. Without a match
// the error is ErrNoRun.
//
// runs are all runs of a store, the one that was started last first, or at least
// those that the name may stand for and the one that the scope is before. Only their
// ids, scenarios, verdicts and tags count.
func FindRun(runs []Run, which string, scope Scope) (Run, error) {
	name, steps, err := CutName(which)
	if err != nil {
		return Run{}, err
	}
	at, err := findNamed(runs, name, scope)
	if err != nil {
		return Run{}, err
	}
	for _, run := range runs[at:] {
		if run.Scenario != runs[at].Scenario {
			continue
		}
		if steps == 0 {
			return run, nil
		}
		steps--
	}
	return Run{}, fmt.Errorf("%w: %q; there are fewer runs of its scenario before %s", ErrNoRun, which, runs[at].ID)
}

// CutName divides what a user calls a run into a name and how many runs before that
// one are meant.
func CutName(which string) (name string, steps int, err error) {
	name, back, relative := strings.Cut(which, backwards)
	if relative {
		if steps, err = strconv.Atoi(back); err != nil || steps < 0 {
			return "", 0, fmt.Errorf("%w: %q; behind %s stands how many runs before it is meant", ErrNoRun, which, backwards)
		}
	}
	return name, steps, nil
}

// namesShown bounds how many runs the message about an ambiguous name lists.
const namesShown = 6

// findNamed returns the index of the run with a name that has no ~.
func findNamed(runs []Run, name string, scope Scope) (int, error) {
	switch name {
	case "", Latest:
		return findLast(runs, scope, "")
	case LastPassed:
		return findLast(runs, scope, VerdictPassed)
	}
	var begins []int
	tagged := -1
	for i, run := range runs {
		switch {
		case run.ID == name:
			return i, nil
		case slices.Contains(run.Tags, name):
			tagged = i
		case strings.HasPrefix(run.ID, name):
			begins = append(begins, i)
		}
	}
	switch {
	case tagged >= 0:
		return tagged, nil
	case len(begins) == 0:
		return 0, fmt.Errorf("%w: %q; `stackmeter runs` lists those that there are", ErrNoRun, name)
	case len(begins) == 1:
		return begins[0], nil
	}
	var ids []string
	for _, i := range begins[:min(len(begins), namesShown)] {
		ids = append(ids, runs[i].ID)
	}
	return 0, fmt.Errorf("%w: %q is the beginning of several (%s); write more of it", ErrNoRun, name, strings.Join(ids, ", "))
}

// findLast returns the index of the last run within a scope that has the
// verdict; any verdict with "".
func findLast(runs []Run, scope Scope, verdict string) (int, error) {
	before := 0
	if scope.Before != "" {
		before = 1 + slices.IndexFunc(runs, func(run Run) bool { return run.ID == scope.Before })
		if before == 0 {
			before = len(runs)
		}
	}
	for i, run := range runs[before:] {
		if (scope.Scenario == "" || run.Scenario == scope.Scenario) && (verdict == "" || run.Verdict == verdict) {
			return before + i, nil
		}
	}
	of := ""
	if scope.Scenario != "" {
		of = " of scenario " + scope.Scenario
	}
	if scope.Before != "" {
		of += " before " + scope.Before
	}
	switch {
	case verdict != "":
		return 0, fmt.Errorf("%w: no run%s passed yet", ErrNoRun, of)
	case of != "":
		return 0, fmt.Errorf("%w: the store holds none%s", ErrNoRun, of)
	}
	return 0, fmt.Errorf("%w: the store holds none yet; `stackmeter run` makes the first", ErrNoRun)
}
