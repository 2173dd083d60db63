package verdict

import (
	"cmp"
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Frontier is the Pareto front of an objective against peak memory: the cells
// for which no other cell is at least as good and needs no more memory.
type Frontier struct {
	Requests   int // the cells': the largest number that the run has
	Objective  results.Figure
	Memory     string    // MemoryGPU or MemoryMain
	Members    []Summary // from the least memory to the most
	Candidates []Summary // all cells that could have been members, in the order of Summarise
	Excluded   int       // cells left out because a repeat failed, answers were errors, or the objective was not measured
	Scheduled  int       // open loops left out because their schedule gives their duration
	Unmeasured int       // cells left out because their memory is not known
}

// FindFrontier finds the front among the cells with the largest number of
// requests. It compares medians and ignores spread. The memory is that of
// MemoryKind.
//
// Cells with a failed repeat or errors are never on the front. Neither are cells
// whose memory is not known, unless no cell's is: then the front is the one best
// cell. An open loop at a rate takes as long as its schedule, whatever the stack
// does, so it is no candidate for the shortest duration or the highest
// throughput. Of cells that are equal in both figures, the first is taken.
func FindFrontier(summaries []Summary, objective results.Figure) Frontier {
	return findFrontier(summaries, objective, MemoryKind(summaries))
}

func findFrontier(summaries []Summary, objective results.Figure, memory string) Frontier {
	f := Frontier{Objective: objective, Memory: memory}
	for _, s := range summaries {
		f.Requests = max(f.Requests, s.Load.Requests)
	}
	for _, s := range summaries {
		switch {
		case s.Load.Requests != f.Requests:
		case !s.Clean() || s.Sample(objective) == nil:
			f.Excluded++
		case s.Load.Client == scenarios.ClientOpen && s.Load.Rate > 0 && Scheduled(objective):
			f.Scheduled++
		default:
			f.Candidates = append(f.Candidates, s)
		}
	}
	known := slices.DeleteFunc(slices.Clone(f.Candidates), func(s Summary) bool { return s.Peak(f.Memory) == nil })
	if len(known) > 0 {
		f.Unmeasured = len(f.Candidates) - len(known)
		f.Candidates = known
	}
	f.Members = f.front(f.Candidates)
	return f
}

// Scheduled reports whether the schedule of an open loop at a rate gives its figure.
func Scheduled(objective results.Figure) bool {
	return objective.Name == results.MetricDuration || objective.Name == results.MetricThroughput
}

// front returns the candidates that no other candidate dominates.
func (f Frontier) front(candidates []Summary) (front []Summary) {
	ordered := slices.Clone(candidates)
	slices.SortStableFunc(ordered, func(a, b Summary) int {
		return cmp.Or(cmp.Compare(f.peak(a), f.peak(b)), cmp.Compare(f.cost(a), f.cost(b)))
	})
	best := math.Inf(1)
	for _, s := range ordered {
		if cost := f.cost(s); cost < best {
			best = cost
			front = append(front, s)
		}
	}
	return front
}

// cost is the median of the objective, negated if more is better.
func (f Frontier) cost(s Summary) float64 {
	median := s.Sample(f.Objective).Median
	if f.Objective.Higher {
		return -median
	}
	return median
}

// peak is the median of the peak memory in bytes, or 0 if it is not known.
func (f Frontier) peak(s Summary) float64 {
	if peak := s.Peak(f.Memory); peak != nil {
		return peak.Median
	}
	return 0
}

// AlikeShare is the largest difference, as a share, in the objective and in
// memory between cells that are equally good. On a quiet machine two
// measurements of the same cell differ by as much.
const AlikeShare = 0.02

// Alike returns the candidates that are not on the front but as good as one of
// its members: within AlikeShare in both figures, and with no difference shown
// in the objective.
func (f Frontier) Alike() []Summary {
	var alike []Summary
	for _, s := range f.Candidates {
		member := slices.ContainsFunc(f.Members, func(m Summary) bool { return m.Name() == s.Name() })
		if !member && slices.ContainsFunc(f.Members, func(m Summary) bool { return f.asGood(s, m) }) {
			alike = append(alike, s)
		}
	}
	return alike
}

func (f Frontier) asGood(s, member Summary) bool {
	near := func(a, b float64) bool { return math.Abs(a-b) <= AlikeShare*math.Abs(b) }
	return near(f.cost(s), f.cost(member)) && near(f.peak(s), f.peak(member)) &&
		!Beside(member, s, f.Objective).Shown
}
