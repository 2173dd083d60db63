package results

import (
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
	d := Difference{N1: a.N, N2: b.N, P: 1, Able: smallestP(a.N, b.N) <= 1-Confidence}
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

// RepeatsForDifference is the fewest repeats of each of two samples with which
// a test can show anything, of so many that are corrected for each other.
func RepeatsForDifference(tests int) int {
	n := 1
	for float64(tests)*smallestP(n, n) > 1-Confidence {
		n++
	}
	return n
}

// smallestP is the smallest p-value that samples of these sizes can have: two
// of the ways to put the values in order separate them wholly.
func smallestP(n, m int) float64 {
	orders := 1.0
	for i := 1; i <= min(n, m); i++ {
		orders *= float64(n+m-min(n, m)+i) / float64(i)
	}
	return min(1, 2/orders)
}
