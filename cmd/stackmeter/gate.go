package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/gate"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
)

// gateOptions say what a run is held against at its end.
type gateOptions struct {
	compare string // nights:7, or a run as compare takes it; empty: what the scenario says, if a threshold needs a baseline
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
	return errors.Join(err, o.parse(&gate.Against{}), checkKinds(o.across))
}

// warnOfTight says of conditions of --fail-on what a scenario's loader says of its own.
func (a *app) warnOfTight(failOn []string) {
	for _, text := range failOn {
		if t, err := results.Vocabulary().Parse(text); err == nil {
			if why, hint := t.Tight(); why != "" {
				fmt.Fprintf(a.stderr, "stackmeter: warning: --fail-on %s; %s\n", show.Line(why), show.Line(hint))
			}
		}
	}
}

// parse puts what --compare says over what the scenario does.
func (o gateOptions) parse(against *gate.Against) error {
	if o.compare == "" {
		return nil
	}
	said, err := gate.Parse(o.compare)
	if err != nil {
		return usage.Errorf("--compare %w", err)
	}
	*against = said
	return nil
}

// checkBaseline refuses a --compare, or an against of the plan, that names no run,
// before anything starts. The last nights and last-passed are those that there are at the end.
func checkBaseline(ctx context.Context, store results.Store, plan scenarios.Plan, id string, o runOptions) error {
	against := plan.Against
	if err := o.gate.parse(&against); err != nil || against.Count() > 0 || against.Run == results.LastPassed {
		return err
	}
	scope := results.Scope{Scenario: plan.Scenario}
	if o.resume != "" {
		scope.Before = id // a new run is not stored yet, so that all are before it
	}
	side := sides{store: store}
	if _, err := side.open(ctx, against.Run, scope); err != nil {
		if o.gate.compare == "" {
			return fmt.Errorf("against: %w", err)
		}
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
	if !strings.Contains(run.Against, severally) {
		o.compare = cmp.Or(o.compare, run.Against) // what a run that is resumed was held against before
	}
	base, err := baseline(ctx, store, exchange.Imported{Run: *run, Records: records}, thresholds, o)
	run.Against = base.id()
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
		if len(base.nights) >= stats.FewestNights {
			made.Between(base.nights, true)
		}
		comparison = &made
	}
	head := verdict.Judged(*run, records)
	run.Checks = verdict.CheckThresholds(thresholds, head, base.nights...)
	since, err := sinceAnchor(ctx, store, *run, thresholds, head, base, o.across)
	if err != nil {
		return nil, err
	}
	run.Checks = append(run.Checks, since...)
	run.Verdict = verdict.Of(*run, records, run.Checks, comparison)
	if err := store.Judged(ctx, run.ID, run.Verdict, run.Against, run.Checks); err != nil {
		return comparison, err
	}
	counts := run.Count(records)
	err = judged(words.StandingOf(*run, &counts))
	if run.Verdict == results.VerdictUndecided && err != nil {
		err = fmt.Errorf("%w; the next runs are held against this one", err)
	}
	if run.Against == "" {
		comparison = nil // there is nothing to show
	}
	return comparison, err
}

// sinceAnchor holds a run against the anchor of its scenario, or else against the first run
// that passed of the last ones. An anchor that no run is called, or that differs in kind, is
// one check that says so.
func sinceAnchor(ctx context.Context, store results.Store, run results.Run, thresholds []*threshold.Threshold, head []verdict.Summary, base based, across []string) ([]results.Check, error) {
	tag := run.Plan.Anchor
	switch {
	case !needsBaseline(thresholds), tag == "" && len(base.nights) < stats.FewestNights:
		return nil, nil
	case tag == "":
		return sinceFirst(ctx, store, run, thresholds, head, base)
	}
	side := sides{store: store}
	anchor, err := side.base(ctx, tag, results.Scope{Scenario: run.Scenario, Before: run.ID}, exchange.Imported{Run: run}, thresholds, across)
	why := "since " + show.Line(tag) + ", which no run is called"
	if errors.Is(err, errNotComparable) {
		why = "since " + show.Line(tag) + ", which differs in kind"
	}
	if errors.Is(err, results.ErrNoRun) || errors.Is(err, errNotComparable) {
		i := slices.IndexFunc(thresholds, func(t *threshold.Threshold) bool { return len(t.Base()) > 0 })
		return []results.Check{{Threshold: thresholds[i].Text, Cell: "all cells together " + why, Status: results.CheckNoBaseline}}, nil
	}
	if err != nil {
		return nil, err
	}
	return verdict.CheckAnchor(thresholds, head, base.nights, verdict.Anchor{Run: tag, Name: tag, Cells: verdict.SummariseRun(anchor.Run, anchor.Records)}), nil
}

// sinceFirst is sinceAnchor where no tag names one.
func sinceFirst(ctx context.Context, store results.Store, run results.Run, thresholds []*threshold.Threshold, head []verdict.Summary, base based) ([]results.Check, error) {
	earlier, err := store.Runs(ctx, results.Scope{Scenario: run.Scenario, Before: run.ID}, verdict.AnchorNights)
	if err != nil {
		return nil, err
	}
	first := verdict.FirstPassed(run, earlier)
	if first == nil {
		return nil, nil
	}
	_, records, err := store.Run(ctx, first.ID)
	if err != nil {
		return nil, err
	}
	return verdict.CheckAnchor(thresholds, head, base.nights, verdict.Anchor{Run: first.ID, Name: verdict.FirstName, Cells: verdict.SummariseRun(*first, records)}), nil
}

// A based is what a run is held against: of each cell the latest night, and all nights,
// the latest first.
type based struct {
	exchange.Imported
	nights [][]verdict.Summary
	runs   []string // of the nights
}

// severally is between the ids of the runs of a baseline.
const severally = ", "

func (b based) id() string { return strings.Join(b.runs, severally) }

// basedOn is a baseline of one night.
func basedOn(run exchange.Imported) based {
	return based{run, [][]verdict.Summary{verdict.SummariseRun(run.Run, run.Records)}, []string{run.Run.ID}}
}

// baseline returns what to compare with: the last nights that passed, or the run of
// --compare or of the scenario and, of the cells that it does not hold, the last that
// passed. The error is errNotComparable if it differs in kind; it is then returned too.
func baseline(ctx context.Context, store results.Store, head exchange.Imported, thresholds []*threshold.Threshold, o gateOptions) (based, error) {
	against, needs := head.Run.Plan.Against, needsBaseline(thresholds)
	if !needs && o.compare == "" {
		return based{}, nil
	}
	if err := o.parse(&against); err != nil {
		return based{}, err
	}
	if n := against.Count(); n > 0 {
		return lastPassed(ctx, store, head, verdict.CellsOf(head.Run, head.Records), thresholds, o.across, n)
	}
	side := sides{store: store}
	base, err := side.base(ctx, against.Run, results.Scope{Scenario: head.Run.Scenario, Before: head.Run.ID}, head, thresholds, o.across)
	if err != nil || against.Run == results.LastPassed || !needs {
		return base, err
	}
	cells := verdict.CellsOf(head.Run, head.Records)
	for name := range verdict.CellsOf(base.Run, base.Records) {
		delete(cells, name)
	}
	rest, err := lastPassed(ctx, store, head, cells, thresholds, o.across, 1)
	if errors.Is(err, errNotComparable) || err == nil && rest.Run.ID == "" {
		return base, nil // what differs was not asked for
	}
	if err != nil {
		return base, err
	}
	base.Imported = joined(base.Imported, rest.Imported)
	base.nights, base.runs = append(base.nights, rest.nights...), append(base.runs, rest.runs...)
	return base, nil
}

// lastPassed returns for each of the cells what the last so many runs held of it that
// passed, see verdict.LastPassed; nothing where there is none. What the last of
// those runs holds besides comes with it.
func lastPassed(ctx context.Context, store results.Store, head exchange.Imported, cells map[string]scenarios.Topology, thresholds []*threshold.Threshold, across []string, count int) (based, error) {
	var base based
	scope := results.Scope{Scenario: head.Run.Scenario, Before: head.Run.ID}
	if _, err := store.ByID(ctx, head.Run.ID); errors.Is(err, results.ErrNoRun) {
		scope.Before = "" // it is in a file
	} else if err != nil {
		return base, err
	}
	runs, err := store.Runs(ctx, scope, 0)
	if err != nil {
		return base, err
	}
	chosen, unlike := verdict.LastPassed(head.Run, cells, runs, thresholds, across, count)
	if unlike != nil {
		return basedOn(exchange.Imported{Run: *unlike}), comparable(*unlike, head.Run, across)
	}
	among := map[string]bool{}
	for _, of := range chosen {
		for _, id := range of {
			among[id] = true
		}
	}
	for _, run := range runs {
		if !among[run.ID] {
			continue
		}
		_, records, err := store.Run(ctx, run.ID)
		if err != nil {
			return base, err
		}
		records = slices.DeleteFunc(records, func(r results.Record) bool {
			_, wanted := cells[r.Cell.Name]
			return r.Reused != "" || wanted && !slices.Contains(chosen[r.Cell.Name], run.ID) || !wanted && base.Run.ID != ""
		})
		base.nights, base.runs = append(base.nights, verdict.SummariseRun(run, records)), append(base.runs, run.ID)
		records = slices.DeleteFunc(records, func(r results.Record) bool {
			of, wanted := chosen[r.Cell.Name]
			return wanted && of[0] != run.ID
		})
		base.Imported = joined(base.Imported, exchange.Imported{Run: run, Records: records})
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
	if len(more.Records) == 0 {
		return base
	}
	held := verdict.CellsOf(results.Run{}, base.Records)
	for _, r := range more.Records {
		if _, has := held[r.Cell.Name]; !has {
			base.Records = append(base.Records, r)
		}
	}
	base.Run.ID += severally + more.Run.ID
	return base
}
