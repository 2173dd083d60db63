package race

import (
	"math"
	"slices"

	"stackmeter/results"
)

// An estimate says how good each candidate seems, from all that was measured: the logarithm
// of the objective of a record is taken as the sum of what is the candidate's under that
// load, what the length adds for all candidates and for this one, what the machine's drift
// adds at that time, and noise. The drift is a random walk that all loads share, so each
// cell says something of it. How much it moves, and how noisy each class of lengths is, are
// estimated along with it (empirical Bayes, by expectation and maximisation).
//
// It says what is measured next, and which candidate is the answer. It is not what makes a
// candidate leave, or an answer sure: that is left to the rounds, see judge.
type estimate struct {
	drift   []float64        // by value
	walk    float64          // variance of the drift's steps, per second
	noise   [classes]float64 // variance of a value, by class of lengths
	ends    float64          // variance of what the end of a load makes candidates differ by, beside the allowance
	offsets [][]float64      // by field and length: what it adds for all
}

// classes are the kinds of lengths whose noises are alike in all loads: the whole one, the
// one before that, and so on.
const classes = 4

// What is taken to be so while little is known: noises of 3%, a drift of 1% in a minute, and
// ends of loads that take anything up to the allowance, each worth two values.
const (
	priorNoise  = 0.03 * 0.03
	priorWalk   = 0.01 * 0.01 / 60
	priorEnds   = 1. / 12 // uniform up to the allowance
	priorWeight = 2
)

// A value is what one record says of its candidate.
type value struct {
	field  *field
	runner *runner
	length int // into the field's lengths
	round  int
	at     float64 // seconds since the first record: the middle of the cell
	log    float64 // of the objective, for each request where it grows with them; less is better
}

func (f *field) class(length int) int { return len(f.lengths) - 1 - length }

// spread is how far, as a standard deviation, the end of a load makes candidates differ at a
// length.
func (e *estimate) spread(f *field, length int) float64 {
	return f.allowance(length) * math.Sqrt(e.ends)
}

// estimate improves on the estimate that the last round began with.
func (r *Race) estimate() {
	r.now = r.before.clone()
	e := &r.now
	e.drift = e.drift[:min(len(e.drift), len(r.values))] // of records that were replaced
	for len(e.drift) < len(r.values) {
		last := 0.0
		if n := len(e.drift); n > 0 {
			last = e.drift[n-1]
		}
		e.drift = append(e.drift, last)
	}
	// What was known before is a good start, and little data is quick.
	const most, few, work = 40, 3, 6000
	for range max(few, min(most, work/max(1, len(r.values)))) {
		e.candidates(r)
		e.follow(r.values)
	}
	e.candidates(r)
}

func newEstimate(fields []*field) estimate {
	e := estimate{walk: priorWalk, ends: priorEnds}
	for class := range e.noise {
		e.noise[class] = priorNoise * float64(1+class)
	}
	for _, f := range fields {
		e.offsets = append(e.offsets, make([]float64, len(f.lengths)))
	}
	return e
}

func (e estimate) clone() estimate {
	e.drift, e.offsets = slices.Clone(e.drift), slices.Clone(e.offsets)
	for i := range e.offsets {
		e.offsets[i] = slices.Clone(e.offsets[i])
	}
	return e
}

// A mean is what a candidate's values of one length say of it.
type mean struct {
	n        int
	sum      float64 // of the logarithms without drift and offset
	end      float64 // what the length adds for this candidate
	unsure   float64 // variance of that
	leverage float64 // how much each of the values has to say in what is fitted to it
}

// candidates estimates each candidate's part, and each length's, without drift.
func (e *estimate) candidates(r *Race) {
	for _, f := range r.fields {
		for _, c := range f.runners {
			c.means = [classes]mean{}
		}
	}
	for i, v := range r.values {
		m := &v.runner.means[v.length]
		m.n, m.sum = m.n+1, m.sum+v.log-e.drift[i]
	}
	squares, n := 0.0, 0.0
	for i, f := range r.fields {
		e.field(f, e.offsets[i])
		if !f.tested {
			continue
		}
		for length := range f.lengths {
			allowance := f.allowance(length)
			for _, c := range f.runners {
				if m := c.means[length]; m.n > 0 && allowance > 0 {
					squares, n = squares+(m.end*m.end+m.unsure)/(allowance*allowance), n+1
				}
			}
		}
	}
	e.ends = (priorWeight*priorEnds + squares) / (priorWeight + n)
}

func (e *estimate) field(f *field, offsets []float64) {
	var sums, weights [classes]float64
	for _, c := range f.runners {
		if !f.tested { // a start's memory, as it was seen
			c.effect = c.memory()
			continue
		}
		total, sum := 0.0, 0.0
		for length := range f.lengths {
			if m := c.means[length]; m.n > 0 {
				w := e.precision(f, length, m.n)
				total, sum = total+w, sum+w*(m.sum/float64(m.n)-offsets[length])
			}
		}
		if c.effect = math.NaN(); total == 0 {
			continue
		}
		c.effect, c.variance = sum/total, 1/total
		for length := range f.lengths {
			m := &c.means[length]
			if m.n == 0 {
				continue
			}
			w := e.precision(f, length, m.n)
			beside := m.sum/float64(m.n) - c.effect
			spread := e.spread(f, length)
			kept := spread * spread * w // of what is left over, the candidate's end rather than noise
			m.end = kept * (beside - offsets[length])
			m.unsure = spread*spread*(1-kept) + kept*kept/total
			m.leverage = (w/total + kept*(1-w/total)) / float64(m.n)
			sums[length], weights[length] = sums[length]+w*beside, weights[length]+w
		}
	}
	for length := range f.lengths {
		if a := f.offsetSpread(length); a > 0 && weights[length] > 0 {
			offsets[length] = sums[length] / (weights[length] + 1/(a*a))
		}
	}
}

// offsetSpread is how much a length may add for all candidates, as a standard deviation. What
// does not grow with requests may be anything at a short length.
func (f *field) offsetSpread(length int) float64 {
	if f.lengths[length].Of == 0 || f.figure.Name == results.MetricDuration {
		return f.allowance(length)
	}
	return 1
}

// precision is what n values of a length say of a candidate: the reciprocal of a variance.
func (e *estimate) precision(f *field, length, n int) float64 {
	spread := e.spread(f, length)
	return 1 / (e.noise[f.class(length)]/float64(n) + spread*spread)
}

// follow estimates the drift from what the candidates leave of each value, and how much it
// moves and how noisy values are. It is a system of equations with three diagonals.
func (e *estimate) follow(values []*value) {
	n := len(values)
	if n == 0 {
		return
	}
	rest, links := make([]float64, n), make([]float64, n) // links are to the next
	diagonal, known := make([]float64, n), make([]float64, n)
	for i, v := range values {
		m := v.runner.means[v.length]
		rest[i] = v.log - v.runner.effect - e.offsets[v.field.number][v.length] - m.end
		w := 1 / e.noise[v.field.class(v.length)]
		diagonal[i] += w
		known[i] += w * max(1e-3, 1-m.leverage) // a candidate's only value says nothing of drift
		if i+1 < n {
			links[i] = 1 / (e.walk * max(1e-3, values[i+1].at-v.at))
			diagonal[i], known[i] = diagonal[i]+links[i], known[i]+links[i]
			diagonal[i+1], known[i+1] = links[i], links[i]
		}
		e.drift[i] = w * rest[i]
		if i > 0 {
			diagonal[i] -= links[i-1] * links[i-1] / diagonal[i-1]
			known[i] -= links[i-1] * links[i-1] / known[i-1]
			e.drift[i] += links[i-1] / diagonal[i-1] * e.drift[i-1]
		}
	}
	var squares, df [classes]float64
	moved, after := 0.0, 0.0 // the variance of the next one
	for i := n - 1; i >= 0; i-- {
		e.drift[i] /= diagonal[i]
		variance := 1 / known[i]
		if i+1 < n {
			e.drift[i] += links[i] / diagonal[i] * e.drift[i+1]
			share := links[i] / known[i]
			variance += share * share * after
			step := e.drift[i+1] - e.drift[i]
			moved += (step*step + after + variance - 2*share*after) * links[i] * e.walk
		}
		after = variance
		v := values[i]
		class := v.field.class(v.length)
		left := rest[i] - e.drift[i]
		squares[class] += left * left
		df[class] += max(0, 1-v.runner.means[v.length].leverage-variance/e.noise[class])
	}
	e.walk = (priorWeight*priorWalk + moved) / (priorWeight + float64(n-1))
	// A longer length is taken to have half the variance, as long as nothing else is known.
	prior := priorNoise * classes
	for class := classes - 1; class >= 0; class-- {
		e.noise[class] = (priorWeight*prior + squares[class]) / (priorWeight + df[class])
		prior = e.noise[class] / 2
	}
}

// middle is when the middle of a record's cell was, in seconds since the first one began.
func (r *Race) middle(record *results.Record) float64 {
	if r.began.IsZero() {
		r.began = record.Started
	}
	at := record.Started.Sub(r.began).Seconds()
	if record.Duration != nil {
		at += *record.Duration / 2
	}
	return at
}

// memory is the mean of the logarithms of what a candidate's starts took; NaN if it is not
// known.
func (c *runner) memory() float64 {
	sum, n := 0.0, 0.0
	for _, one := range slices.Concat(c.repeats...) {
		if one.badness != nil {
			sum, n = sum+*one.badness, n+1
		}
	}
	return sum / n
}
