package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/threshold"
)

// gateOptions say what a run is held against at its end.
type gateOptions struct {
	compare string // a run, as compare takes it; empty: last-passed if a threshold needs a baseline
	failOn  []string
	across  []string
	tag     string
}

// thresholds returns the plan's and those of --fail-on, each once: a run that is
// resumed may have them in both.
func (o gateOptions) thresholds(plan scenarios.Plan) ([]*threshold.Threshold, error) {
	own, err := parseThresholds(plan.Thresholds, "threshold")
	if err != nil {
		return nil, err
	}
	more, err := parseThresholds(o.failOn, "--fail-on")
	return append(own, slices.DeleteFunc(more, func(t *threshold.Threshold) bool { return slices.Contains(plan.Thresholds, t.Text) })...), err
}

// check refuses options that cannot be.
func (o gateOptions) check(plan scenarios.Plan) error {
	_, err := o.thresholds(plan)
	return errors.Join(err, checkKinds(o.across))
}

// checkBaseline refuses a --compare that names no run, before anything starts.
// last-passed names those that there are at the end.
func checkBaseline(ctx context.Context, store results.Store, scenario, id string, o runOptions) error {
	if o.gate.compare == "" || o.gate.compare == results.LastPassed {
		return nil
	}
	scope := results.Scope{Scenario: scenario}
	if o.resume != "" {
		scope.Before = id // a new run is not stored yet, so that all are before it
	}
	side := sides{store: store}
	if _, err := side.open(ctx, o.gate.compare, scope); err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	return nil
}

// judge holds a finished run against its thresholds and its baseline, and stores
// the verdict. The comparison is nil without a baseline.
func (a *app) judge(ctx context.Context, store results.Store, run *results.Run, records []results.Record, o gateOptions) (*verdict.Comparison, error) {
	thresholds, err := o.thresholds(run.Plan)
	if err != nil {
		return nil, err
	}
	o.compare = cmp.Or(o.compare, run.Against) // what a run that is resumed was held against before
	base, err := baseline(ctx, store, exchange.Imported{Run: *run, Records: records}, thresholds, o)
	run.Against = base.Run.ID
	if err != nil && !errors.Is(err, errNotComparable) {
		return nil, err
	}
	if err != nil {
		run.Verdict = results.VerdictRefused
		return nil, errors.Join(err, store.Judged(ctx, run.ID, run.Verdict, run.Against, nil))
	}
	var comparison *verdict.Comparison
	if run.Against != "" || o.compare != "" {
		made := verdict.CompareRuns(base.Run, *run, base.Records, records)
		comparison = &made
	}
	run.Checks = verdict.CheckThresholds(thresholds, verdict.Summarise(records), verdict.Summarise(base.Records))
	run.Verdict = verdict.Of(*run, records, run.Checks, comparison)
	if err := store.Judged(ctx, run.ID, run.Verdict, run.Against, run.Checks); err != nil {
		return comparison, err
	}
	counts := run.Count(records)
	err = judged(words.StandingOf(*run, &counts))
	if run.Verdict == results.VerdictUndecided {
		err = fmt.Errorf("%w; the next runs are held against this one", err)
	}
	if run.Against == "" {
		comparison = nil // there is nothing to show
	}
	return comparison, err
}

// baseline returns what to compare with: the run of --compare and, of the cells
// that it does not hold, the last that passed. The error is errNotComparable if it
// differs in kind; it is then returned too.
func baseline(ctx context.Context, store results.Store, head exchange.Imported, thresholds []*threshold.Threshold, o gateOptions) (exchange.Imported, error) {
	which, needs := o.compare, needsBaseline(thresholds)
	if needs {
		which = cmp.Or(which, results.LastPassed)
	}
	if which == "" {
		return exchange.Imported{}, nil
	}
	side := sides{store: store}
	base, err := side.base(ctx, which, results.Scope{Scenario: head.Run.Scenario, Before: head.Run.ID}, head, thresholds, o.across)
	if err != nil || which == results.LastPassed || !needs {
		return base, err
	}
	cells := verdict.CellsOf(head.Run, head.Records)
	for name := range verdict.CellsOf(base.Run, base.Records) {
		delete(cells, name)
	}
	rest, err := lastPassed(ctx, store, head, cells, thresholds, o.across)
	if errors.Is(err, errNotComparable) || err == nil && rest.Run.ID == "" {
		return base, nil // what differs was not asked for
	}
	if err != nil {
		return base, err
	}
	return joined(base, rest), nil
}

// lastPassed returns for each of the cells what the last run held of it that
// passed, see verdict.LastPassed; nothing where there is none. What the last of
// those runs holds besides comes with it.
func lastPassed(ctx context.Context, store results.Store, head exchange.Imported, cells map[string]scenarios.Topology, thresholds []*threshold.Threshold, across []string) (exchange.Imported, error) {
	var base exchange.Imported
	runs, err := store.Runs(ctx)
	if err != nil {
		return base, err
	}
	before := 1 + slices.IndexFunc(runs, func(run results.Run) bool { return run.ID == head.Run.ID })
	chosen, unlike := verdict.LastPassed(head.Run, cells, runs[before:], thresholds, across)
	if unlike != nil {
		return exchange.Imported{Run: *unlike}, comparable(*unlike, head.Run, across)
	}
	for _, run := range runs[before:] {
		if !slices.Contains(slices.Collect(maps.Values(chosen)), run.ID) {
			continue
		}
		_, records, err := store.Run(ctx, run.ID)
		if err != nil {
			return base, err
		}
		records = slices.DeleteFunc(records, func(r results.Record) bool {
			_, wanted := cells[r.Cell.Name]
			return wanted && chosen[r.Cell.Name] != run.ID || !wanted && base.Run.ID != ""
		})
		base = joined(base, exchange.Imported{Run: run, Records: records})
	}
	return base, nil
}

func needsBaseline(thresholds []*threshold.Threshold) bool {
	return slices.ContainsFunc(thresholds, func(t *threshold.Threshold) bool { return len(t.Base()) > 0 })
}

// joined is a baseline with the cells of another run that it does not have. It is
// called by the ids of both, and is otherwise the first.
func joined(base, more exchange.Imported) exchange.Imported {
	if base.Run.ID == "" {
		return more
	}
	held := verdict.CellsOf(results.Run{}, base.Records)
	for _, r := range more.Records {
		if _, has := held[r.Cell.Name]; !has {
			base.Records = append(base.Records, r)
		}
	}
	base.Run.ID += ", " + more.Run.ID
	return base
}
