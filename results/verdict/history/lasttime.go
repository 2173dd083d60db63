package history

import (
	"context"
	"errors"
	"maps"

	"stackmeter/results"
	"stackmeter/results/verdict"
)

// Earlier is what is read of a results.Store.
type Earlier interface {
	Runs(ctx context.Context, scope results.Scope, last int) ([]results.Run, error)
	Run(ctx context.Context, which string) (results.Run, []results.Record, error)
}

// LastTime compares a run with what it was held against, or where that was nothing with
// the scenario's last run before it that ended well, is of the same kind and has a cell
// in common. It returns nil where there is none: a first run, a search, or what was held
// against several nights.
func LastTime(ctx context.Context, store Earlier, run results.Run, records []results.Record) (*verdict.Comparison, error) {
	if run.Plan.Search != nil || len(records) == 0 || run.Verdict == results.VerdictRefused {
		return nil, nil
	}
	if run.Against != "" {
		base, before, err := store.Run(ctx, run.Against)
		if errors.Is(err, results.ErrNoRun) || err == nil && base.ID != run.Against {
			return nil, nil // of several nights, or gone
		}
		if err != nil {
			return nil, err
		}
		return new(verdict.CompareRuns(base, run, before, records)), nil
	}
	cells := verdict.CellsOf(run, records)
	// Mostly it is the run right before: not all nights of years are read for it.
	for scope := (results.Scope{Scenario: run.Scenario, Before: run.ID}); ; {
		earlier, err := store.Runs(ctx, scope, atOnce)
		if err != nil || len(earlier) == 0 {
			return nil, err
		}
		for _, base := range earlier {
			if base.Outcome != results.OutcomeOK || base.Plan.Search != nil || len(verdict.Disparities(base, run)) > 0 {
				continue
			}
			base, before, err := store.Run(ctx, base.ID)
			if err != nil {
				return nil, err
			}
			for name := range maps.Keys(verdict.CellsOf(base, before)) {
				if _, common := cells[name]; common {
					return new(verdict.CompareRuns(base, run, before, records)), nil
				}
			}
		}
		scope.Before = earlier[len(earlier)-1].ID
	}
}

// atOnce is how many earlier runs are read at once.
const atOnce = 16
