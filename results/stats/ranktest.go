package stats

import (
	"cmp"
	"slices"

	"golang.org/x/perf/benchmath"
)

// A Difference is the result of the two-sided Mann-Whitney U test on two samples
// of one figure. The test assumes nothing about the distribution.
// See Mann and Whitney, On a Test of Whether one of Two Random Variables is
// Stochastically Larger than the Other (1947).
type Difference struct {
	Change float64 // of the medians, as a share of the first one; 0 where that is 0
	P      float64 // the probability of samples at least as different if both came from one distribution
	N1, N2 int     // values

	// Shown reports whether the test rejects, at the level of 1 − Confidence,
	// that both samples come from one distribution. A difference that is not
	// shown may still exist.
	Shown bool

	// Able reports whether samples of these sizes could have shown a
	// difference, had every value of one been below every value of the other.
	// Where it is false, Shown says nothing.
	Able bool
}

// Compare tests whether two samples differ. With a sample missing it shows
// nothing.
func Compare(a, b *Sample) Difference {
	if a == nil || b == nil {
		return Difference{P: 1}
	}
	d := Difference{N1: a.N, N2: b.N, P: 1, Able: SmallestP(a.N, b.N) <= 1-Confidence}
	if a.Median != 0 {
		d.Change = b.Median/a.Median - 1
	}
	test := benchmath.AssumeNothing.Compare(perfSample(a.Values), perfSample(b.Values))
	d.P = test.P
	d.Shown = d.P <= 1-Confidence
	return d
}

func perfSample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(slices.Clone(values), &benchmath.Thresholds{CompareAlpha: 1 - Confidence})
}

// Holm corrects the p-values of tests that are looked at together and returns
// them in the same order. If there is no difference anywhere, the probability
// that any corrected value is α or less is at most α, however the tests depend
// on each other. Methods that bound the share of false alarms need independent
// tests, and the cells of a run share a machine and often a stack. See Holm, A
// Simple Sequentially Rejective Multiple Test Procedure (1979).
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	corrected := make([]float64, len(p))
	largest := 0.0
	for rank, at := range order {
		largest = max(largest, min(1, float64(len(p)-rank)*p[at]))
		corrected[at] = largest
	}
	return corrected
}
