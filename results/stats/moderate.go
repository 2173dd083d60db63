package stats

import (
	"math"
	"slices"
)

// A Prior is what the variances of many groups of values have in common: they scatter
// around Variance as if that were known from as many values as Degrees has degrees of
// freedom. Degrees is +Inf where they scatter no more than chance makes them, and 0
// where nothing is known of them in common.
//
// The variances v of groups with d degrees each are taken to be v ~ σ²·χ²(d)/d, with
// 1/σ² ~ χ²(Degrees)/(Degrees·Variance). See Smyth, Linear Models and Empirical Bayes
// Methods for Assessing Differential Expression in Microarray Experiments (2004).
type Prior struct {
	Degrees, Variance float64

	pooled float64 // degrees of freedom of all the groups, which no group can have more of
}

// leastShare is what a variance counts as at least, as a share of the median: the
// logarithm of 0 would be the only one that counts.
const leastShare = 1e-5

// NewPrior estimates it from the variances of groups and their degrees of freedom,
// by the mean and the variance of the logarithms (section 6.2 of Smyth). Groups
// without a degree of freedom say nothing; it takes two that do.
func NewPrior(variances, degrees []float64) Prior {
	var known, of []float64
	for i, v := range variances {
		if degrees[i] > 0 {
			known, of = append(known, v), append(of, degrees[i])
		}
	}
	n := float64(len(known))
	if n < 2 {
		return Prior{}
	}
	least := leastShare * median(known)
	if least == 0 {
		least = leastShare * slices.Max(known)
	}
	if least == 0 { // nothing varies anywhere
		return Prior{Degrees: math.Inf(1), pooled: math.Inf(1)}
	}
	mean, expected, pooled := 0.0, 0.0, 0.0
	logs := make([]float64, len(known))
	for i, v := range known {
		logs[i] = math.Log(max(v, least)) - digamma(of[i]/2) + math.Log(of[i]/2)
		mean += logs[i] / n
		expected += trigamma(of[i]/2) / n
		pooled += of[i]
	}
	scatter := -expected
	for _, e := range logs {
		scatter += (e - mean) * (e - mean) / (n - 1)
	}
	if scatter <= 0 {
		return Prior{math.Inf(1), math.Exp(mean), pooled}
	}
	half := trigammaInverse(scatter)
	return Prior{2 * half, math.Exp(mean + digamma(half) - math.Log(half)), pooled}
}

// Moderate returns the variance of one group moved towards the prior, and the
// degrees of freedom that it then has: no more than all groups together, from which
// the prior comes.
func (p Prior) Moderate(variance, degrees float64) (moderated, of float64) {
	if math.IsInf(p.Degrees, 1) {
		return p.Variance, p.pooled
	}
	of = p.Degrees + degrees
	if of == 0 {
		return math.NaN(), 0
	}
	moderated = (p.Degrees*p.Variance + degrees*variance) / of
	return moderated, min(of, max(p.pooled, degrees))
}

// asymptotic is the least argument at which the series of the polygamma functions
// are exact to 14 digits. See Abramowitz and Stegun, 6.3.18 and 6.4.12.
const asymptotic = 12

func digamma(x float64) float64 {
	shift := 0.0
	for ; x < asymptotic; x++ {
		shift -= 1 / x
	}
	q := 1 / (x * x)
	return shift + math.Log(x) - 1/(2*x) - q*(1./12-q*(1./120-q*(1./252-q*(1./240-q/132))))
}

func trigamma(x float64) float64 {
	shift := 0.0
	for ; x < asymptotic; x++ {
		shift += 1 / (x * x)
	}
	q := 1 / (x * x)
	return shift + 1/x + q/2 + q/x*(1./6-q*(1./30-q*(1./42-q*(1./30-q*5/66))))
}

// trigammaInverse is the argument at which trigamma has this value above 0, found by
// halving: it falls from infinity to 0.
func trigammaInverse(value float64) float64 {
	low, high := -20.0, 40.0 // of the logarithm
	for range 80 {
		middle := (low + high) / 2
		if trigamma(math.Exp(middle)) > value {
			low = middle
		} else {
			high = middle
		}
	}
	return math.Exp((low + high) / 2)
}
