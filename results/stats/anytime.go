package stats

import "math"

// anytimeGain is the number of observations at which an anytime-valid interval is at its
// best beside others of its kind: with few, what is far away has to show early.
const anytimeGain = 0.5

// AnytimeP is the evidence against a mean being what it is not, which may be looked at
// after every observation, as often as one likes: under the hypothesis, the chance that it
// is ever at p or below is at most p. t is the distance of the mean of n observations from
// the hypothesis, in standard errors, and df are the degrees of freedom of the variance
// that these come from.
//
// It is the reciprocal of the mixture of t-tests over a normal prior of the effect. See
// Lindon, Ham, Tingley and Bojinov, Anytime-Valid Linear Models and Regression Adjusted
// Causal Inference in Randomized Experiments (2022), and for a known variance Robbins,
// Statistical Methods Related to the Law of the Iterated Logarithm (1970).
func AnytimeP(t float64, n int, df float64) float64 {
	if n == 0 || df <= 0 {
		return 1
	}
	k := anytimeGain / (anytimeGain + float64(n))
	evidence := math.Log(k)/2 - (df+1)/2*(math.Log1p(k*t*t/df)-math.Log1p(t*t/df))
	return math.Exp(-max(0, evidence))
}

// AnytimeHalfWidth is how many standard errors an interval reaches to either side of the
// mean of n observations that contains the true one at all looks at once, with a
// probability of 1 − alpha: what AnytimeP is above alpha for. It is infinite where there
// are too few degrees of freedom.
func AnytimeHalfWidth(n int, df, alpha float64) float64 {
	if n == 0 || df <= 0 {
		return math.Inf(1)
	}
	k := anytimeGain / (anytimeGain + float64(n))
	c := math.Exp(-math.Log(alpha*alpha*k) / (df + 1))
	if k*c >= 1 {
		return math.Inf(1)
	}
	return math.Sqrt(df * (c - 1) / (1 - k*c))
}
