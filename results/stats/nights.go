package stats

import "math"

// FewestNights is the fewest nights whose spread is known well enough to hold
// another night against.
const FewestNights = 4

// Nights are one figure of one cell over nights. Repeats of a night have the night
// in common, so that the night is what repeats: each is the mean of the logarithms of
// its repeats.
type Nights struct {
	Before []float64 // at least FewestNights
	Head   float64   // of the night that is held against them
}

// A Departure is how far a night is from those before it.
type Departure struct {
	Nights    int     // before it
	By        float64 // of the logarithms: of the head less the mean of the nights before
	Deviation float64 // of By, by the spread between nights
	Degrees   float64 // of freedom, of the deviation

	// One-sided: if nothing changed, the probability of being at least as far above,
	// and at least as far below.
	Up, Down float64
}

// Depart tests each series by Student's t: By/(s·√(1+1/K)) with K nights before. A
// few nights say little of the variance s² of one series, so it is moderated by those
// of all of them, see Prior. Where nothing ever varied, any change is one.
func Depart(series []Nights) []Departure {
	variances, degrees := make([]float64, len(series)), make([]float64, len(series))
	found := make([]Departure, len(series))
	for i, s := range series {
		k := float64(len(s.Before))
		mean := 0.0
		for _, v := range s.Before {
			mean += v / k
		}
		for _, v := range s.Before {
			variances[i] += (v - mean) * (v - mean) / (k - 1)
		}
		degrees[i] = k - 1
		found[i] = Departure{Nights: len(s.Before), By: s.Head - mean}
	}
	prior := NewPrior(variances, degrees)
	for i := range found {
		d := &found[i]
		variance, of := prior.Moderate(variances[i], degrees[i])
		d.Degrees, d.Deviation = of, math.Sqrt(variance*(1+1/float64(d.Nights)))
		d.Up, d.Down = studentTail(d.By, d.Deviation, of), studentTail(-d.By, d.Deviation, of)
	}
	return found
}

// DepartSince is how far each head is from a single earlier night, the anchor of its series.
// The spread between nights is that of the differences from each night to the next, which what
// comes slowly hardly widens. See von Neumann and others, The Mean Square Successive Difference
// (1941), also for the degrees of freedom that it has of normal values.
func DepartSince(series []Nights, anchors []float64) []Departure {
	variances, degrees := make([]float64, len(series)), make([]float64, len(series))
	for i, s := range series {
		k := float64(len(s.Before))
		for night, v := range s.Before[1:] {
			variances[i] += square(v-s.Before[night]) / (2 * (k - 1))
		}
		degrees[i] = 2 * square(k-1) / (3*k - 4)
	}
	prior := NewPrior(variances, degrees)
	found := make([]Departure, len(series))
	for i, s := range series {
		variance, of := prior.Moderate(variances[i], degrees[i])
		d := Departure{Nights: len(s.Before), By: s.Head - anchors[i], Deviation: math.Sqrt(2 * variance), Degrees: of}
		d.Up, d.Down = studentTail(d.By, d.Deviation, of), studentTail(-d.By, d.Deviation, of)
		found[i] = d
	}
	return found
}

// Interval is that of the change as a share (0.05 is 5% more), at Confidence.
func (d Departure) Interval() Interval {
	reach := d.Reach(1 - (1-Confidence)/2)
	return Interval{Low: math.Expm1(d.By - reach), High: math.Expm1(d.By + reach), Confidence: Confidence}
}

// Reach is how far a one-sided bound at this confidence is from By.
func (d Departure) Reach(confidence float64) float64 {
	return d.Deviation * studentQuantile(1-confidence, d.Degrees)
}

// Since is how far the night is from a single earlier one, from which it is by that
// much, with the spread between nights of d.
func (d Departure) Since(by float64) Departure {
	d.Deviation *= math.Sqrt(2 / (1 + 1/float64(d.Nights)))
	d.By = by
	d.Up, d.Down = studentTail(by, d.Deviation, d.Degrees), studentTail(-by, d.Deviation, d.Degrees)
	return d
}
