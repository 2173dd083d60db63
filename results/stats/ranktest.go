package stats

import (
	"cmp"
	"slices"

	"golang.org/x/perf/benchmath"
)

// A Difference is what a rank test says about two samples of one figure: the
// two-sided Mann-Whitney U test, which assumes nothing about the distribution.
// See Mann and Whitney, On a Test of Whether one of Two Random Variables is
// Stochastically Larger than the Other (1947).
type Difference struct {
	Change float64 // of the medians, as a share of the first one; 0 where that is 0
	P      float64 // of samples at least so different if both came from one distribution
	N1, N2 int     // repeats

	// Shown: the test rejects that both come from one distribution, at the
	// level of 1 − Confidence. What is not shown may still be there.
	Shown bool

	// Able: so many repeats could have shown a difference, had every value of
	// one sample been below every value of the other. Where they could not,
	// that nothing is shown says nothing.
	Able bool
}

// Compare tests whether two samples differ. Without a value on one of the
// sides nothing is shown.
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

// Holm corrects the p-values of tests that are looked at together, in their
// order: where none of what they test is there, one or more of the corrected
// values are α or below with a probability of α at most, whatever the tests
// have to do with each other. The cells of a run share a machine and often a
// stack, so they are not independent; that is why it is this method and not one
// that bounds the share of false alarms under independence. See Holm, A Simple
// Sequentially Rejective Multiple Test Procedure (1979).
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
