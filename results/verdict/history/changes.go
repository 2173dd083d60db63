package history

import (
	"maps"
	"path"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
)

// Particulars of what was measured, and with what, that are often what a step in a
// history comes from.
const (
	noteVersion    = "version of the app" // its image's reference
	noteImage      = "image"              // of a service, by content
	noteStackmeter = "stackmeter"
	noteGo         = "go"
)

// changesOf returns all in which the records of two runs differ that a level can come
// from: the kinds, the machines' particulars, and what was installed.
func changesOf(before, now results.Run) []verdict.Disparity {
	changes := append(verdict.Disparities(before, now), verdict.Notes(before, now)...)
	app := func(r results.Run) string { return r.Plan.App.Image }
	if a, b := app(before), app(now); a != b && a != "" && b != "" {
		changes = append(changes, verdict.Disparity{Kind: noteVersion, Base: a, Head: b})
	}
	a, b := contents(before), contents(now)
	for _, service := range slices.Sorted(maps.Keys(a)) {
		if b[service] != "" && a[service] != b[service] {
			changes = append(changes, verdict.Disparity{Kind: noteImage + " of " + service, Base: a[service], Head: b[service]})
		}
	}
	for _, d := range []verdict.Disparity{
		{Kind: noteStackmeter, Base: before.Host.Stackmeter, Head: now.Host.Stackmeter},
		{Kind: noteGo, Base: before.Host.Go, Head: now.Host.Go},
	} {
		if d.Base != d.Head && d.Base != "" && d.Head != "" {
			changes = append(changes, d)
		}
	}
	return changes
}

// contents are the images of a run's services, shortened, by the service. Topologies
// share most of theirs.
func contents(r results.Run) map[string]string {
	all := map[string][]string{}
	for name, digest := range r.Images {
		all[path.Base(name)] = append(all[path.Base(name)], short(digest))
	}
	joined := map[string]string{}
	for service, digests := range all {
		slices.Sort(digests)
		joined[service] = strings.Join(slices.Compact(digests), ", ")
	}
	return joined
}

// short is the beginning of a content address: enough to tell it from the one before.
func short(digest string) string {
	const enough = 12
	algorithm, rest, found := strings.Cut(digest, ":")
	if found && len(rest) > enough {
		return algorithm + ":" + rest[:enough]
	}
	return digest
}
