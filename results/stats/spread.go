package stats

import (
	"slices"

	"github.com/aclements/go-moremath/mathx"
)

// A Spread is how much a group of values varies.
type Spread struct {
	Variation float64 // its coefficient
	Degrees   float64 // of freedom: values less one
}

// calmDegrees is how much the variation that is taken for calm counts beside that of the
// other groups, where these are few.
const calmDegrees = 4

// Unsteady reports which groups vary by more than limit, and more than chance makes of as
// many groups. Whatever the limit, half of it is calm.
//
// Half of the level is for all groups together: where what is usual among them is shown to be
// above the limit, all that are above it are unsteady. The other half is for each by itself,
// corrected by Holm: it has to vary more than calm ones do, by the χ² test, and more than what
// is usual among the others, by the F test. What is usual is taken from the median of their
// variances, so that a few that are unsteady hide none; it says half as much as the pooled
// variance does of normal values.
func Unsteady(groups []Spread, limit float64) []bool {
	unsteady, p := make([]bool, len(groups)), make([]float64, len(groups))
	calm, level := square(limit/2), 1-Confidence
	if len(groups) > 1 {
		level /= 2
		usual, of := usualVariance(groups)
		if chanceOfSpread(usual/square(limit), of) <= level {
			for i, g := range groups {
				unsteady[i] = g.Variation > limit
			}
			return unsteady
		}
	}
	for i, g := range groups {
		p[i] = chanceOfSpread(square(g.Variation)/calm, g.Degrees)
		usual, of := usualVariance(slices.Concat(groups[:i], groups[i+1:]))
		if of > 0 {
			usual, of = (calmDegrees*calm+of*usual)/(calmDegrees+of), calmDegrees+of
			p[i] = max(p[i], chanceBeside(square(g.Variation)/usual, g.Degrees, of))
		}
	}
	for i, corrected := range Holm(p) {
		unsteady[i] = groups[i].Variation > limit && corrected <= level
	}
	return unsteady
}

// usualVariance is that of which as many groups have more as have less, and the degrees of
// freedom that it is known with.
func usualVariance(groups []Spread) (variance, degrees float64) {
	var all []float64
	for _, g := range groups {
		middle := 1 - 2/(9*g.Degrees) // of χ² by its degrees: its median is the cube, by Wilson and Hilferty (1931)
		all = append(all, square(g.Variation)/(middle*middle*middle))
		degrees += g.Degrees / 2
	}
	if len(all) == 0 {
		return 0, 0
	}
	return median(all), degrees
}

// chanceOfSpread is the chance of a variance at least so many times the true one.
func chanceOfSpread(times, degrees float64) float64 {
	return mathx.GammaIncComp(degrees/2, times*degrees/2)
}

// chanceBeside is that of one at least so many times another one.
func chanceBeside(times, degrees, of float64) float64 {
	return mathx.BetaInc(of/(of+degrees*times), of/2, degrees/2)
}
