// Package reuse finds what earlier runs measured of the same kind.
package reuse

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"stackmeter/results"
	"stackmeter/results/verdict"
)

// Of finds records of other runs for a run, see orchestrator.Orchestrator. Of
// runs of its kind, the one that has the most of what is wanted comes first, because
// what was measured together is best compared, and of those that have as many the latest.
func Of(store results.Store, now results.Run, within time.Duration) func(context.Context, map[string]string, []results.Record) ([]results.Record, error) {
	return func(ctx context.Context, images map[string]string, wanted []results.Record) ([]results.Record, error) {
		byFingerprint := map[string]bool{}
		for _, r := range wanted {
			byFingerprint[r.Fingerprint] = true
		}
		found, err := store.Alike(ctx, slices.Sorted(maps.Keys(byFingerprint)), time.Now().Add(-within))
		if err != nil {
			return nil, err
		}
		var sources [][]results.Record
		for _, of := range verdict.GroupBy(found, func(r results.Record) string { return r.Run }) {
			if of[0].Run == now.ID {
				continue
			}
			run, err := store.ByID(ctx, of[0].Run)
			if err != nil {
				return nil, err
			}
			if run.Imported != "" || len(verdict.Disparities(run, now)) > 0 || now.Plan.Search != nil && run.Plan.Search == nil {
				continue
			}
			of = slices.DeleteFunc(of, func(r results.Record) bool { return !sameImages(r.Topology.Name, run.Images, images) })
			if now.Plan.Search == nil {
				of = among(of, wanted)
			}
			if len(of) > 0 {
				sources = append(sources, of)
			}
		}
		slices.SortStableFunc(sources, func(a, b []results.Record) int {
			return cmp.Or(len(b)-len(a), b[0].Started.Compare(a[0].Started))
		})
		if now.Plan.Search != nil { // what is in a round is compared with each other
			return slices.Concat(sources[:min(1, len(sources))]...), nil
		}
		var chosen []results.Record
		has := map[results.Key]bool{}
		for _, of := range sources {
			for _, r := range of {
				if !has[r.Key()] {
					has[r.Key()] = true
					chosen = append(chosen, r)
				}
			}
		}
		return chosen, nil
	}
}

// among are the records of cells that are wanted, under the same load.
func among(records, wanted []results.Record) []results.Record {
	want := map[results.Key]results.Record{}
	for _, r := range wanted {
		want[r.Key()] = r
	}
	return slices.DeleteFunc(records, func(r results.Record) bool {
		of, is := want[r.Key()]
		return !is || of.Cell != r.Cell || of.Fingerprint != r.Fingerprint
	})
}

// sameImages reports whether a topology's stack, and the load client, are made from the
// same images in two runs. A stack whose images are not known is not the same.
func sameImages(topology string, before, now map[string]string) bool {
	of := func(images map[string]string) map[string]string {
		own := maps.Clone(images)
		maps.DeleteFunc(own, func(name, _ string) bool {
			return strings.Contains(name, "/") && !strings.HasPrefix(name, topology+"/")
		})
		return own
	}
	known := false
	for name := range now {
		known = known || strings.HasPrefix(name, topology+"/")
	}
	return known && maps.Equal(of(before), of(now))
}
