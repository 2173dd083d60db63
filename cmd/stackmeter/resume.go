package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"stackmeter/cmd/stackmeter/changes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// resume takes over a run that no longer has a process, if nothing that its cells
// depend on has changed since it began. now is the run with the same id as it would
// be if it began now. It is judged by what it was judged by and by what now and o
// add. resume returns the run as it is stored; the orchestrator compares the images.
//
// A process in another PID namespace or on another machine cannot be seen, dead or
// alive: such a run is resumed when it is named, or the store gave its lock to this
// process, and what is left of it is removed first.
func (a *app) resume(ctx context.Context, store results.Store, now results.Run, owner stacks.Owner, runtime stacks.Runtime, sure bool, o runOptions) (results.Run, error) {
	before, _, err := store.Run(ctx, now.ID)
	if err != nil {
		return before, err
	}
	unseen := false
	if last, err := stacks.ParseOwner(before.Owner); err == nil && before.Outcome == "" && !last.Gone(owner) {
		unseen = !last.Visible(owner)
		switch {
		case !unseen:
			return before, usage.Errorf("run %s is still running (process %d); wait for it or end it", before.ID, last.PID)
		case !sure:
			return before, usage.Errorf("run %s may still be running: its process %d is in another PID namespace or on another machine and cannot be seen from here; if it has ended, --resume %s removes what it left behind and continues, and stackmeter clean --run %s only removes it",
				before.ID, last.PID, before.ID, before.ID)
		}
	}
	// Python's client is a process of this machine, also where the stacks are Pods.
	elsewhere := o.runtime.Elsewhere() && now.Plan.Client.Engine != scenarios.EnginePythonRequests
	changes := changes.Between(before, now, elsewhere)
	if len(changes) > 0 {
		return before, usage.Errorf("run %s cannot be resumed, because new cells could not be compared with its old ones. Since it began, this has changed:\n  %s\nStart a new run, or undo the change (the same scenario, --set and --only, on the same machine)",
			before.ID, strings.Join(changes, "\n  "))
	}
	if unseen {
		removed, err := runtime.Sweep(ctx, before.ID)
		for _, name := range removed {
			fmt.Fprintln(a.stderr, "stackmeter: removed what a killed run left behind:", show.Clean(name))
		}
		if err != nil {
			return before, fmt.Errorf("remove what run %s left behind: %w", before.ID, err)
		}
	}
	fmt.Fprintf(a.stderr, "stackmeter: continuing run %s of %s\n", before.ID, before.Started.Local().Format(time.DateTime))
	given, kept := slices.Concat(now.Plan.Thresholds, o.gate.failOn), before.Plan.Thresholds
	for _, c := range before.Checks { // with those of --fail-on
		if !slices.Contains(kept, c.Threshold) {
			kept = append(kept, c.Threshold)
		}
	}
	before.Plan.Thresholds, before.Plan.Baseline = now.Plan.Thresholds, now.Plan.Baseline
	before.Plan.Against, before.Plan.Anchor, before.Plan.Undecided = now.Plan.Against, now.Plan.Anchor, now.Plan.Undecided
	before.Plan.Recommend, before.Plan.Search = now.Plan.Recommend, now.Plan.Search // what is asked of the records
	for _, text := range kept {
		if !slices.Contains(given, text) {
			fmt.Fprintf(a.stderr, "stackmeter: it is also held to %s, as before; a new run is not\n", show.Clean(text))
		}
		if !slices.Contains(before.Plan.Thresholds, text) {
			before.Plan.Thresholds = append(before.Plan.Thresholds, text)
		}
	}
	if err := store.Resume(ctx, before.ID, before.Plan, now.Owner); err != nil || o.gate.tag == "" || o.again() {
		return before, err
	}
	return before, store.Tag(ctx, before.ID, o.gate.tag)
}
