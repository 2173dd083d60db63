package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// resume takes over a run that no longer has a process, if nothing that its cells
// depend on has changed since it began. now is the run with the same id as it would
// be if it began now. It is judged by what it was judged by and by what now and gate
// add. resume returns the run as it is stored; the orchestrator compares the images.
//
// A process in another PID namespace or on another machine cannot be seen, dead or alive: such a run
// is resumed when it is named, and what is left of it is removed first.
func (a *app) resume(ctx context.Context, store results.Store, now results.Run, owner stacks.Owner, runtime stacks.Runtime, named bool, gate gateOptions) (results.Run, error) {
	before, _, err := store.Run(ctx, now.ID)
	if err != nil {
		return before, err
	}
	unseen := false
	if last, err := stacks.ParseOwner(before.Owner); err == nil && before.Outcome == "" && !last.Gone(owner) {
		unseen = !last.Visible(owner)
		switch {
		case !unseen:
			return before, usageError{fmt.Errorf("run %s is still running (process %d); wait for it or end it", before.ID, last.PID)}
		case !named:
			return before, usageError{fmt.Errorf("run %s may still be running: its process %d is in another PID namespace or on another machine and cannot be seen from here; if it has ended, --resume %s removes what it left behind and continues, and stackmeter clean --run %s only removes it",
				before.ID, last.PID, before.ID, before.ID)}
		}
	}
	changes := append(planChanges(before, now), machineChanges(before, now)...)
	if len(changes) > 0 {
		return before, usageError{fmt.Errorf("run %s cannot be resumed, because new cells could not be compared with its old ones. Since it began, this has changed:\n  %s\nStart a new run, or undo the change (the same scenario, --set and --only, on the same machine)",
			before.ID, strings.Join(changes, "\n  "))}
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
	given, kept := slices.Concat(now.Plan.Thresholds, gate.failOn), before.Plan.Thresholds
	for _, c := range before.Checks { // with those of --fail-on
		if !slices.Contains(kept, c.Threshold) {
			kept = append(kept, c.Threshold)
		}
	}
	before.Plan.Thresholds, before.Plan.Baseline, before.Plan.Recommend = now.Plan.Thresholds, now.Plan.Baseline, now.Plan.Recommend
	for _, text := range kept {
		if !slices.Contains(given, text) {
			fmt.Fprintf(a.stderr, "stackmeter: it is also held to %s, as before; a new run is not\n", show.Clean(text))
		}
		if !slices.Contains(before.Plan.Thresholds, text) {
			before.Plan.Thresholds = append(before.Plan.Thresholds, text)
		}
	}
	if err := store.Resume(ctx, before.ID, before.Plan, now.Owner); err != nil || gate.tag == "" {
		return before, err
	}
	return before, store.Tag(ctx, before.ID, gate.tag)
}

// machineChanges lists what of the machine has changed since the run began.
func machineChanges(before, now results.Run) []string {
	was, is := before.Host, now.Host
	var changes []string
	for _, c := range []struct{ what, was, is string }{
		{"--runtime", before.Runtime, now.Runtime},
		{"the machine", was.Name, is.Name},
		{"the CPU", was.CPU, is.CPU},
		{"the number of cores", fmt.Sprint(was.Cores), fmt.Sprint(is.Cores)},
		{"the kernel", was.Kernel, is.Kernel},
		{"the engine", was.Engine, is.Engine},
		{"stackmeter itself", was.Stackmeter, is.Stackmeter},
		{"the GPUs", gpuNames(before), gpuNames(now)},
	} {
		if c.was != c.is {
			changes = append(changes, fmt.Sprintf("%s: was %s, is %s", c.what, cmp.Or(c.was, "none"), cmp.Or(c.is, "none")))
		}
	}
	if !verdict.AlikeMemory(was.Memory, is.Memory) {
		changes = append(changes, fmt.Sprintf("the machine's memory: was %d MiB, is %d MiB", was.Memory>>20, is.Memory>>20))
	}
	return changes
}

func gpuNames(run results.Run) string {
	var names []string
	for _, d := range run.GPUDevices {
		names = append(names, fmt.Sprintf("%s %s (driver %s)", d.Name, d.UUID, d.Driver))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// changesShown bounds how many changes of a scenario are listed.
const changesShown = 8

// planChanges lists what of the plan has changed since the run began.
func planChanges(before, now results.Run) []string {
	if before.Fingerprint == now.Fingerprint && before.Plan.Repeats == now.Plan.Repeats && reflect.DeepEqual(before.Plan.Until, now.Plan.Until) {
		return nil
	}
	var changes []string
	was, is := document(before.Plan), document(now.Plan.Redacted())
	// The order follows from the seed; the rest is compared by name.
	for i, trial := range []scenarios.Plan{before.Plan, now.Plan.Redacted()} {
		into := []map[string]any{was, is}[i]
		delete(into, "trials")
		delete(into, "payload_files")
		for n, f := range trial.PayloadFiles {
			into[fmt.Sprintf("payload file %d, %s", n+1, f.Name)] = fmt.Sprintf("%d bytes, SHA-256 %.12s…", f.Size, f.SHA256)
		}
		for _, t := range trial.Trials {
			into["topology "+t.Topology.Name] = document(t.Topology)
			for _, c := range t.Cells {
				into["cell "+c.Name] = true
			}
		}
	}
	differ("", was, is, &changes)
	// Cells follow from the rest, and there may be many.
	slices.SortStableFunc(changes, func(a, b string) int {
		return cmp.Compare(rank(a), rank(b))
	})
	if len(changes) > changesShown {
		changes = append(changes[:changesShown], fmt.Sprintf("and %d more", len(changes)-changesShown))
	}
	if len(changes) == 0 {
		changes = append(changes, "what the store does not show: the value of an environment variable, a build argument or a header, or how stackmeter itself writes a plan down, if it is another build")
	}
	return changes
}

func rank(change string) int {
	if strings.HasPrefix(change, "cell ") {
		return 1
	}
	return 0
}

// document returns a value as its JSON form reads.
func document(value any) map[string]any {
	text, err := json.Marshal(value)
	doc := map[string]any{}
	if err == nil {
		err = json.Unmarshal(text, &doc)
	}
	if err != nil {
		return map[string]any{"unreadable": err.Error()}
	}
	return doc
}

// differ lists the paths at which two documents are not the same.
func differ(path string, was, is any, changes *[]string) {
	if a, ok := was.(map[string]any); ok {
		if b, ok := is.(map[string]any); ok {
			keys := maps.Clone(a)
			maps.Copy(keys, b)
			for _, key := range slices.Sorted(maps.Keys(keys)) {
				differ(strings.TrimPrefix(path+"."+key, "."), a[key], b[key], changes)
			}
			return
		}
	}
	named := strings.HasPrefix(path, "topology ") || strings.HasPrefix(path, "cell ") || strings.HasPrefix(path, "payload file ")
	switch {
	case fmt.Sprint(was) == fmt.Sprint(is):
	case named && was == nil:
		*changes = append(*changes, path+" is new")
	case named && is == nil:
		*changes = append(*changes, path+" is gone")
	default:
		*changes = append(*changes, fmt.Sprintf("%s: was %s, is %s", path, inShort(was), inShort(is)))
	}
}

func inShort(value any) string {
	text, err := json.Marshal(value)
	if value == nil || err != nil {
		return "none"
	}
	if list, ok := value.([]any); ok && len(text) > 60 {
		return fmt.Sprintf("a list of %d", len(list))
	}
	return show.Shorten(string(text), 60)
}
