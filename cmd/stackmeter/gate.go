package main

import (
	"context"
	"errors"
	"fmt"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
)

// gateOptions say what a run is held against at its end.
type gateOptions struct {
	compare string // a run, as compare takes it; empty: last-passed if a threshold needs a baseline
	failOn  []string
	across  []string
	tag     string
}

// thresholds returns the scenario's and those of --fail-on.
func (o gateOptions) thresholds(plan scenarios.Plan) ([]*threshold.Threshold, error) {
	own, err := parseThresholds(plan.Thresholds, "threshold")
	if err != nil {
		return nil, err
	}
	more, err := parseThresholds(o.failOn, "--fail-on")
	return append(own, more...), err
}

// check refuses options that cannot be.
func (o gateOptions) check(plan scenarios.Plan) error {
	_, err := o.thresholds(plan)
	if o.tag != "" {
		if tag := results.CheckName(o.tag); tag != nil {
			err = errors.Join(err, usageError{fmt.Errorf("--tag: %w", tag)})
		}
	}
	return errors.Join(err, checkKinds(o.across))
}

// checkBaseline refuses a --compare that names no run, before anything starts. The
// run itself is looked up at the end: another one may have passed by then.
func checkBaseline(ctx context.Context, store results.Store, scenario, id string, o runOptions) error {
	if o.gate.compare == "" {
		return nil
	}
	scope := results.Scope{Scenario: scenario}
	if o.resume != "" {
		scope.Before = id // a new run is not stored yet, so that all are before it
	}
	_, err := openBaseline(ctx, store, o.gate.compare, scope)
	return err
}

// openBaseline returns nil for last-passed if no run has passed yet.
func openBaseline(ctx context.Context, store results.Store, which string, scope results.Scope) (*exchange.Imported, error) {
	side := sides{store: store}
	base, err := side.open(ctx, which, scope)
	if which == results.LastPassed && errors.Is(err, results.ErrNoRun) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--compare: %w", err)
	}
	return &base, nil
}

// judge holds a finished run against its thresholds and its baseline, and stores
// the verdict. The comparison is nil without a baseline.
func (a *app) judge(ctx context.Context, store results.Store, run *results.Run, records []results.Record, o gateOptions) (*verdict.Comparison, error) {
	thresholds, err := o.thresholds(run.Plan)
	if err != nil {
		return nil, err
	}
	base, err := a.baseline(ctx, store, *run, thresholds, o)
	if err != nil {
		return nil, err
	}
	var comparison *verdict.Comparison
	var before []verdict.Summary
	if base != nil {
		made := verdict.CompareRuns(base.Run, *run, base.Records, records)
		comparison, run.Against = &made, base.Run.ID
		before = verdict.Summarise(base.Records)
		err = comparable(made, o.across)
	}
	if err != nil {
		run.Verdict = results.VerdictRefused
		return nil, errors.Join(err, store.Judged(ctx, run.ID, run.Verdict, run.Against, nil))
	}
	run.Checks = verdict.CheckThresholds(thresholds, verdict.Summarise(records), before)
	run.Verdict = verdict.Of(*run, records, run.Checks)
	if comparison != nil && comparison.Regressed() {
		run.Verdict = results.VerdictFailed
	}
	if err := store.Judged(ctx, run.ID, run.Verdict, run.Against, run.Checks); err != nil {
		return comparison, err
	}
	return comparison, judged(comparison != nil && comparison.Regressed(), run.Checks)
}

// baseline returns the run to compare with. It is nil if none is asked for, or if
// no run has passed yet.
func (a *app) baseline(ctx context.Context, store results.Store, run results.Run, thresholds []*threshold.Threshold, o gateOptions) (*exchange.Imported, error) {
	which := o.compare
	for _, t := range thresholds {
		if which == "" && len(t.Base()) > 0 {
			which = results.LastPassed
		}
	}
	if which == "" {
		return nil, nil
	}
	base, err := openBaseline(ctx, store, which, results.Scope{Scenario: run.Scenario, Before: run.ID})
	if base == nil && err == nil {
		fmt.Fprintf(a.stderr, "stackmeter: no earlier run of %s has passed, so there is nothing to compare with yet\n", show.Clean(run.Scenario))
	}
	return base, err
}
