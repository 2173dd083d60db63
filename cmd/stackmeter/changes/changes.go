// Package changes says what is not as it was when a run began, of its plan and of
// its machine: what a run that is resumed must not have.
package changes

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// Between lists what of the plan and of the machine has changed since a run began.
// now is the run as it would be if it began now. elsewhere says that stacks and clients
// are on other machines than the orchestrator, which may be another one then.
func Between(before, now results.Run, elsewhere bool) []string {
	return append(ofPlan(before, now), ofMachine(before, now, elsewhere)...)
}

// ofPlan lists what of the plan has changed since the run began.
func ofPlan(before, now results.Run) []string {
	searched := before.Plan.Search != nil
	if searched != (now.Plan.Search != nil) {
		return []string{map[bool]string{true: "search: its matrix was searched, and is to be measured whole", false: "search: its matrix was measured whole, and is to be searched"}[searched]}
	}
	if before.Fingerprint == now.Fingerprint && before.Plan.Repeats == now.Plan.Repeats && reflect.DeepEqual(before.Plan.Until, now.Plan.Until) {
		return nil
	}
	var changes []string
	was, is := document(before.Plan), document(now.Plan.Redacted())
	// The order follows from the seed; the rest is compared by name.
	for i, trial := range []scenarios.Plan{before.Plan, now.Plan.Redacted()} {
		into := []map[string]any{was, is}[i]
		delete(into, "trials")
		delete(into, "listed")
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

// changesShown bounds how many changes of a scenario are listed.
const changesShown = 8

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

// ofMachine lists what of the machine has changed since the run began.
func ofMachine(before, now results.Run, elsewhere bool) []string {
	was, is := before.Host, now.Host
	if elsewhere {
		was.Name, was.CPU, was.Cores, was.Kernel, was.Memory = is.Name, is.CPU, is.Cores, is.Kernel, is.Memory
	}
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
		if d.Node != "" {
			continue // the cluster gave it, and the next stack may get another
		}
		names = append(names, fmt.Sprintf("%s %s (driver %s)", d.Name, d.UUID, d.Driver))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
