package stats

import (
	"math"

	gostats "github.com/aclements/go-moremath/stats"
)

// rounding is what the means of the same values can differ by.
const rounding = 1e-12

// studentTail is the probability of a value at least this high.
func studentTail(value, deviation, degrees float64) float64 {
	if deviation <= rounding {
		if value > rounding {
			return 0
		}
		return 1
	}
	t := value / deviation
	if degrees > 1e6 {
		return math.Erfc(t/math.Sqrt2) / 2
	}
	return gostats.TDist{V: degrees}.CDF(-t)
}

// studentQuantile is the value that Student's t is above with the probability tail, which
// is at most a half. The library's own is found by halving, which takes 50 evaluations of
// the distribution; Newton's method takes 3 or so from where Cornish and Fisher's expansion
// begins, and from there never passes what it looks for by much: beyond 0 the distribution
// is concave.
func studentQuantile(tail, degrees float64) float64 {
	z := math.Sqrt2 * math.Erfinv(1-2*tail)
	if degrees > 1e6 { // the normal distribution, to six digits
		return z
	}
	z2 := z * z
	t := z * (1 + (z2+1)/(4*degrees) + (5*z2*z2+16*z2+3)/(96*degrees*degrees))
	student := gostats.TDist{V: degrees}
	for range 100 {
		step := (student.CDF(-t) - tail) / student.PDF(t)
		t += step
		if math.Abs(step) <= 1e-13*math.Abs(t) {
			break
		}
	}
	return t
}
