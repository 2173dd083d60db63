package stats

import (
	"math"
	"slices"

	gostats "github.com/aclements/go-moremath/stats"
)

// Settings of the search for steps. BenchmarkHistory in package results shows what
// they find, and how often they are wrong.
const (
	// FewestForSteps is the fewest values in which a step can be found.
	FewestForSteps = 8

	// oldLevel is that of a step which oldAfter values or more have followed. Every
	// night asks the same series again, and what was noise is forgotten by then.
	oldLevel = 0.00005
	oldAfter = 8

	mostBefore = 60 // values that a window is held against
	fewestFree = 5  // degrees of freedom of the noise

	clipNoise  = 4.0  // deviations, by the median deviation, within which a value counts whole
	clipWindow = 3.3  // deviations within which one of a window does: farther out it is as likely one bad night
	clipShare  = 0.75 // of the critical value, if that is more: two values are enough for any series
)

// A window is how many last values are tried, and the level of the test, for all series
// that are looked at together. Windows overlap: they make one false step in about 250
// values. One value alone is no step, see Levels.Alone.
type window struct {
	n     int
	level float64
}

const freshLevel = 0.0046 // of the window that decides most

func windows() []window {
	return []window{{2, 0.0012}, {3, freshLevel}, {5, 0.0001}, {8, 0.0002}}
}

const aloneLevel = 0.0018

// Levels are what a series did.
type Levels struct {
	Steps []Step // in order
	Drift *Drift // up to the last value; nil: none

	// Alone is how far the last value lies from the level before it, as a share, where
	// that is beyond noise and no step yet: the value after it will say. Nil: it is not.
	Alone *float64
}

// A Step is where a series moved to another level.
type Step struct {
	At       int       // index of the first value of the new level
	Earliest int       // the lowest index that explains the values nearly as well
	Latest   int       // the highest
	Before   float64   // median of the values since the step before
	After    float64   // median of the values up to the next step
	Interval *Interval // of the change as a share, at Confidence; nil where a value is not above 0
	P        float64   // the probability that levels without a step between them differ as much
	Ended    int       // index of the first value of the level to which the step was taken back; 0: it was not
}

// FindLevels finds where the level of each series changed. The chance of a false step
// is that of all series together.
//
// Values come in one after the other. The last 2, 3, 5 and 8 are held against those
// since the last step, up to 60, by the likelihood ratio of a normal distribution, on
// logarithms where all values are above 0: what changes a duration changes it by a
// share. One value counts for no more than the test needs of several, and one that is
// far out of line counts for no more in the noise, so that one bad night is no step
// and hides none. Beside that, each level is searched for a stretch of whatever length
// whose ranks are higher or lower than those around it, and for it alone where the
// values are such as counts, with 0 among them: this finds plateaus that ended even
// where few values are before them. Both take values to be independent: where each is
// like the one before, a wave is mistaken for steps.
//
// See Willsky and Jones, A Generalized Likelihood Ratio Approach to the Detection and
// Estimation of Jumps in Linear Systems (1976), with windows by Lai, Sequential
// Changepoint Detection in Quality Control and Dynamical Systems (1995), and Olshen and
// others, Circular Binary Segmentation for the Analysis of Array-based DNA Copy Number
// Data (2004).
func FindLevels(series [][]float64) []Levels {
	found, critical := make([]Levels, len(series)), map[criticalKey]float64{}
	for i, values := range series {
		if len(values) >= FewestForSteps {
			s := levelSearch{values: values, share: 1 / float64(len(series)), critical: critical, held: map[int]before{}}
			found[i] = s.levels()
		}
	}
	return found
}

// A levelSearch is the work of FindLevels.
type levelSearch struct {
	values   []float64
	logs     []float64 // or the values, where one is not above 0
	ratios   bool      // they are logarithms
	share    float64   // of a level that is one series' own
	starts   []int     // of the levels but the first, in order
	critical map[criticalKey]float64
	held     map[int]before // by the index at which a window begins, since the last start was found
}

type criticalKey struct{ free, level float64 }

func (s *levelSearch) levels() Levels {
	s.logs = slices.Clone(s.values)
	if s.ratios = slices.Min(s.values) > 0; s.ratios {
		for i, v := range s.values {
			s.logs[i] = math.Log(v)
		}
		s.scan()
	}
	s.findPlateaus()
	for s.place(); s.prune(); s.place() {
	}
	levels := Levels{Steps: s.steps()}
	if s.ratios {
		levels.Alone = s.alone()
		levels.Drift = s.drift()
		inside := func(step Step) bool { return levels.Drift != nil && step.At > levels.Drift.From }
		if steps := slices.DeleteFunc(slices.Clone(levels.Steps), inside); len(steps) == len(levels.Steps)-1 {
			levels.Drift = nil // one step is said as what it is
		} else {
			levels.Steps = steps
		}
	}
	return levels
}

// reach is the critical value of a two-sided test by Student's t.
func (s *levelSearch) reach(level, free float64) float64 {
	key := criticalKey{free, level}
	if _, known := s.critical[key]; !known {
		s.critical[key] = studentQuantile(s.share*level/2, free)
	}
	return s.critical[key]
}

// noiseFloor is the least noise of a logarithm: smaller changes than a few thousandths
// are nothing to tell, and figures in whole numbers can be the same for weeks.
const noiseFloor = 0.001

// noise is the deviation of the values in [from, to) around the levels that begin in
// it, and its degrees of freedom. What is far out of line is drawn in.
func (s *levelSearch) noise(from, to int, starts []int) (deviation, free float64) {
	var off []float64
	levels := 0
	for first := from; first < to; levels++ {
		last := to
		for _, start := range starts {
			if start > first && start < last {
				last = start
			}
		}
		center := median(s.logs[first:last])
		if last-first < 5 {
			center = mean(s.logs[first:last])
		}
		for _, v := range s.logs[first:last] {
			off = append(off, v-center)
		}
		first = last
	}
	sizes := make([]float64, len(off))
	for i, v := range off {
		sizes[i] = math.Abs(v)
	}
	most := math.Inf(1)
	if typical := 1.4826 * median(sizes); typical > 0 {
		most = clipNoise * typical
	}
	squares := 0.0
	for _, size := range sizes {
		squares += min(size, most) * min(size, most)
	}
	free = float64(len(off) - levels)
	if free <= 0 {
		return noiseFloor, free
	}
	return max(noiseFloor, math.Sqrt(squares/free)), free
}

// levelOf is the mean of the values in [from, to), each drawn in to most from the
// median.
func (s *levelSearch) levelOf(from, to int, most float64) float64 {
	center, sum := median(s.logs[from:to]), 0.0
	for _, v := range s.logs[from:to] {
		sum += max(center-most, min(center+most, v))
	}
	return sum / float64(to-from)
}

// A before is what a window that begins at an index is held against.
type before struct{ level, deviation, free, n float64 }

// beforeOf is that of the level that begins at from.
func (s *levelSearch) beforeOf(from, at int) before {
	if held, known := s.held[at]; known {
		return held
	}
	first := max(0, at-mostBefore)
	b := before{n: float64(at - max(from, first))}
	if b.deviation, b.free = s.noise(first, at, s.starts); b.free >= fewestFree {
		b.level = s.levelOf(max(from, first), at, clipNoise*b.deviation)
	}
	s.held[at] = b
	return b
}

// outOfLine reports whether the values in [at, to) are off that of those in [from, at), at
// a level.
func (s *levelSearch) outOfLine(from, at, to int, level float64) bool {
	b := s.beforeOf(from, at)
	if b.free < fewestFree {
		return false
	}
	reach := s.reach(level, b.free)
	most, sum := max(clipWindow, clipShare*reach)*b.deviation, 0.0
	if to-at == 1 {
		most = math.Inf(1)
	}
	for _, v := range s.logs[at:to] {
		sum += max(-most, min(most, v-b.level))
	}
	n := float64(to - at)
	return math.Abs(sum/n) > reach*b.deviation*math.Sqrt(1/n+1/b.n)
}

// scan lets the values come in one after the other.
func (s *levelSearch) scan() {
	from := 0
	for to := 1; to <= len(s.logs); to++ {
		for _, w := range windows() {
			if at := to - w.n; at > from && s.outOfLine(from, at, to, w.level) {
				from, _, _ = s.split(from, at, to, s.beforeOf(from, at).deviation)
				s.starts = append(s.starts, from)
				clear(s.held)
				break
			}
		}
	}
}

// split is where the values in [from, to) are best divided into two levels, which
// begins as the one at guess, and the lowest and highest place that does nearly as
// well.
func (s *levelSearch) split(from, guess, to int, deviation float64) (at, earliest, latest int) {
	most := clipNoise * deviation
	a, b := s.levelOf(from, guess, most), s.levelOf(guess, to, most)
	costs, least := make([]float64, to-from), math.Inf(1) // of a step at from+i
	for i := 1; i < to-from; i++ {
		if i == 1 {
			for k := from; k < to; k++ {
				level := b
				if k == from {
					level = a
				}
				costs[1] += square(min(most, math.Abs(s.logs[k]-level)))
			}
		} else {
			v := s.logs[from+i-1]
			costs[i] = costs[i-1] + square(min(most, math.Abs(v-a))) - square(min(most, math.Abs(v-b)))
		}
		if costs[i] < least {
			at, least = from+i, costs[i]
		}
	}
	earliest, latest = at, at
	const nearly = 3.841459 // 95% of chi-squared with one degree of freedom
	for i := 1; i < to-from; i++ {
		if costs[i] <= least+nearly*deviation*deviation {
			earliest, latest = min(earliest, from+i), max(latest, from+i)
		}
	}
	return at, earliest, latest
}

func square(v float64) float64 { return v * v }

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// bounds are the first value of the level before the i-th start, and the one behind
// the last of the level that begins there.
func (s *levelSearch) bounds(i int) (from, to int) {
	to = len(s.logs)
	if i > 0 {
		from = s.starts[i-1]
	}
	if i+1 < len(s.starts) {
		to = s.starts[i+1]
	}
	return from, to
}

// place moves each start to where it explains the levels on both sides best.
func (s *levelSearch) place() {
	slices.Sort(s.starts)
	s.starts = slices.Compact(s.starts)
	deviation, _ := s.noise(0, len(s.logs), s.starts)
	for i, start := range s.starts {
		from, to := s.bounds(i)
		s.starts[i], _, _ = s.split(from, start, to, deviation)
	}
}

// prune takes away the start that the levels on both sides support least, if they do
// not support it. It reports whether there was one.
func (s *levelSearch) prune() bool {
	weakest, least := -1, 1.0
	deviation, free := s.noise(0, len(s.logs), s.starts)
	for i, start := range s.starts {
		from, to := s.bounds(i)
		level := oldLevel
		if to == len(s.logs) && to-start < oldAfter {
			level = freshLevel
		}
		level *= s.share
		p := s.studentProbability(from, start, to, deviation, free)
		if p > level { // counting ranks takes longer
			p = min(p, rankProbability(s.logs[from:start], s.logs[start:to]))
		}
		if support := level / p; support < least {
			weakest, least = i, support
		}
	}
	if weakest >= 0 {
		s.starts = slices.Delete(s.starts, weakest, weakest+1)
	}
	return weakest >= 0
}

// probability is that of levels as different, before and from at, where there is no
// step: by Student's t with the noise of the whole series, or by ranks, of which the
// better one counts.
func (s *levelSearch) probability(from, at, to int, deviation, free float64) float64 {
	return min(s.studentProbability(from, at, to, deviation, free), rankProbability(s.logs[from:at], s.logs[at:to]))
}

func (s *levelSearch) studentProbability(from, at, to int, deviation, free float64) float64 {
	if !s.ratios || free < 1 {
		return 1
	}
	off := s.levelOf(at, to, clipNoise*deviation) - s.levelOf(from, at, clipNoise*deviation)
	t := math.Abs(off) / (deviation * math.Sqrt(1/float64(at-from)+1/float64(to-at)))
	return max(2*gostats.TDist{V: free}.CDF(-t), math.SmallestNonzeroFloat64)
}

// steps are the starts as they are told.
func (s *levelSearch) steps() []Step {
	var steps []Step
	deviation, free := s.noise(0, len(s.logs), s.starts)
	for i, at := range s.starts {
		from, to := s.bounds(i)
		step := Step{At: at, Before: median(s.values[from:at]), After: median(s.values[at:to]), P: s.probability(from, at, to, deviation, free)}
		_, step.Earliest, step.Latest = s.split(from, at, to, deviation)
		if s.ratios && free >= 1 {
			off := s.levelOf(at, to, clipNoise*deviation) - s.levelOf(from, at, clipNoise*deviation)
			reach := studentQuantile((1-Confidence)/2, free) * deviation * math.Sqrt(1/float64(at-from)+1/float64(to-at))
			step.Interval = &Interval{Low: math.Expm1(off - reach), High: math.Expm1(off + reach), Confidence: Confidence}
		}
		steps = append(steps, step)
	}
	for i := range steps {
		for _, later := range steps[i+1:] {
			// Half of the way back is nearer to the level before than to the one after.
			if math.Abs(later.After-steps[i].Before) < math.Abs(later.After-steps[i].After) {
				steps[i].Ended = later.At
				break
			}
		}
	}
	return steps
}

// alone is Levels.Alone.
func (s *levelSearch) alone() *float64 {
	from, last := 0, len(s.logs)-1
	if len(s.starts) > 0 {
		from = s.starts[len(s.starts)-1]
	}
	clear(s.held)
	if from >= last || !s.outOfLine(from, last, last+1, aloneLevel) {
		return nil
	}
	return new(math.Expm1(s.logs[last] - median(s.logs[max(from, last-mostBefore):last])))
}
