package results

import (
	"cmp"
	"math"
	"slices"

	"stackmeter/scenarios"
)

// A Conclusion is the short list of conditions worth having at one number of
// requests.
type Conclusion struct {
	Requests   int
	Memory     string      // MemoryGPU or MemoryMain
	Conditions []Condition // the baseline first, then from the least memory to the most
	Excluded   int         // cells that were left out because a repeat failed or answers were errors
	Unmeasured int         // cells that were left out because their memory is not known
}

// A Condition is one row of a Conclusion.
type Condition struct {
	Summary  Summary
	Baseline bool
	Front    bool     // on the Pareto front; a baseline need not be
	Saved    *float64 // seconds against the baseline
	Ratio    *float64 // duration in percent of the baseline's
}

// Conclude finds the conditions worth having among the cells with the largest
// number of requests: the Pareto front of median duration against median peak
// memory, that is every cell for which no other is at least as fast and needs
// no more memory. The peak is the devices' when any was measured, otherwise
// the main memory's. Cells with a failed repeat or with errors are never on
// the front, and neither are cells whose memory is not known while others' is;
// where no cell's memory is known the front is the fastest cell. Of cells that
// are equal in both, the first is taken. Spread is not considered.
//
// The baseline is listed first even when it is not on the front or failed.
func Conclude(summaries []Summary, selector *scenarios.Baseline) Conclusion {
	conclusion := Conclusion{Memory: MemoryKind(summaries)}
	for _, s := range summaries {
		conclusion.Requests = max(conclusion.Requests, s.Load.Requests)
	}
	baselines := FindBaselines(summaries, selector)
	var candidates []Summary
	for _, s := range summaries {
		switch {
		case s.Load.Requests != conclusion.Requests:
		case !s.Clean() || s.Duration == nil:
			conclusion.Excluded++
		default:
			candidates = append(candidates, s)
		}
	}
	front, unmeasured := paretoFront(candidates, conclusion.Memory)
	conclusion.Unmeasured = unmeasured

	if baseline, found := baselines[conclusion.Requests]; found {
		row := condition(baseline, baselines)
		row.Baseline = true
		row.Front = slices.ContainsFunc(front, func(s Summary) bool { return s.Name() == baseline.Name() })
		conclusion.Conditions = append(conclusion.Conditions, row)
	}
	for _, s := range front {
		if baseline := baselines.Of(s); baseline != nil && baseline.Name() == s.Name() {
			continue
		}
		row := condition(s, baselines)
		row.Front = true
		conclusion.Conditions = append(conclusion.Conditions, row)
	}
	return conclusion
}

func condition(s Summary, baselines Baselines) Condition {
	return Condition{Summary: s, Saved: baselines.Saved(s), Ratio: baselines.DurationRatio(s)}
}

// paretoFront returns the candidates that no other dominates, from the least
// memory to the most, and how many had to be left out for want of a figure.
func paretoFront(candidates []Summary, memory string) (front []Summary, unmeasured int) {
	known := slices.DeleteFunc(slices.Clone(candidates), func(s Summary) bool { return s.Peak(memory) == nil })
	peak := func(s Summary) float64 { return s.Peak(memory).Median }
	if len(known) == 0 {
		known = slices.Clone(candidates)
		peak = func(Summary) float64 { return 0 }
	}
	unmeasured = len(candidates) - len(known)
	slices.SortStableFunc(known, func(a, b Summary) int {
		return cmp.Or(cmp.Compare(peak(a), peak(b)), cmp.Compare(a.Duration.Median, b.Duration.Median))
	})
	best := math.Inf(1)
	for _, s := range known {
		if s.Duration.Median < best {
			best = s.Duration.Median
			front = append(front, s)
		}
	}
	return front, unmeasured
}
