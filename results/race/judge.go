package race

import (
	"math"

	"stackmeter/results/stats"
	"stackmeter/scenarios"
)

// Evidence is how a candidate stands to the leader at one length.
type Evidence struct {
	Round  int                // of the last record when it was judged
	Length scenarios.LoadSpec // whose rounds say it
	Rounds int                // of it that both are in
	Ratio  float64            // of the objective, from the leader to the candidate; above 1 is worse
	Low    float64            // the interval of the ratio, at the confidence asked for, valid at all looks; 0 where nothing bounds it
	High   float64            // infinite likewise
	Leader string             // topology

	better, worse float64 // how little it would take for chance to show it so: p of more than Within better, and of no more than Within worse
}

// A duel is what the rounds that a candidate and the leader are both in say, in one slot.
type duel struct {
	rounds   int
	mean     float64 // difference of the logarithms, the candidate's less the leader's
	squares  float64 // of what the rounds' differences are from their mean
	variance float64 // of a round's difference, moderated by the other candidates'
	df       float64 // degrees of freedom of that
}

// judge says who leads each load, who leaves, and how sure that is, by all records.
func (r *Race) judge() {
	if r.judged {
		return
	}
	r.judged = true
	r.estimate()
	for _, f := range r.fields {
		for _, c := range f.runners {
			c.leaving = nil
			if c.left != nil && f.runner(c.left.Leader).out() { // to be worse than that one says nothing
				c.left = nil
			}
		}
		f.lead()
	}
	r.duels()
	for _, f := range r.fields {
		f.sure = 0
		if f.leader != nil {
			r.compare(f)
		}
	}
}

// running reports whether a candidate can be the answer, as far as is known.
func (c *runner) running() bool {
	return c.measured() > 0 && c.failed == nil && c.closed == nil && c.gone() == nil && c.excess == nil
}

// out reports whether a candidate cannot be the answer, whatever it is worse or better than.
func (c *runner) out() bool { return c.failed != nil || c.closed != nil || c.excess != nil }

// lead finds the leader: the best by the estimates from all lengths.
func (f *field) lead() {
	f.leader = nil
	for _, c := range f.runners {
		if c.running() && !math.IsNaN(c.effect) && (f.leader == nil || c.effect < f.leader.effect) {
			f.leader = c
		}
	}
}

// duels holds all candidates against their leaders, and lets the noises of all say what
// any one's is.
func (r *Race) duels() {
	var variances, df [1 + classes][]float64 // first passes, and classes of lengths
	var of [1 + classes][]*duel
	for _, f := range r.fields {
		for _, c := range f.runners {
			c.duels = [1 + classes]duel{}
			if f.leader == nil || c == f.leader || !c.running() {
				continue
			}
			for slot := range f.slots() {
				d := f.duel(c, slot)
				if d.rounds == 0 {
					continue
				}
				class, own := 0, float64(d.rounds-1)
				if slot > 0 {
					class = 1 + f.class(slot-1)
				}
				if c.duels[slot] = d; !f.tested { // memory is not as noisy as what takes time
					continue
				}
				of[class], df[class] = append(of[class], &c.duels[slot]), append(df[class], own)
				variances[class] = append(variances[class], d.squares/max(1, own))
			}
		}
	}
	for class := range of {
		prior := stats.NewPrior(variances[class], df[class])
		total := 0.0
		for _, own := range df[class] {
			total += own
		}
		for i, d := range of[class] {
			d.variance, d.df = prior.Moderate(variances[class][i], df[class][i])
			d.df = min(d.df, total)
		}
	}
}

func (f *field) duel(c *runner, slot int) (d duel) {
	var differences []float64
	for _, mine := range c.repeats[slot] {
		for _, leaders := range f.leader.repeats[slot] {
			if (mine.round == leaders.round || !f.tested) && mine.badness != nil && leaders.badness != nil {
				differences = append(differences, *mine.badness-*leaders.badness)
				d.mean += *mine.badness - *leaders.badness
			}
		}
	}
	d.rounds = len(differences)
	d.mean /= float64(max(1, d.rounds))
	for _, one := range differences {
		d.squares += (one - d.mean) * (one - d.mean)
	}
	return d
}

// compare holds each candidate that is in the race against the leader. Each of its slots has
// an equal part in how often it may be wrong.
func (r *Race) compare(f *field) {
	search := r.plan.Search
	within := math.Log1p(search.Within)
	pairs := float64(max(1, len(f.runners)-1) * f.slots())
	alpha, unsure := (1-search.Confidence)/pairs, 0.0
	for _, c := range f.runners {
		if c == f.leader || !c.running() {
			continue
		}
		c.settled, c.beside = false, Evidence{better: 1}
		better := 1.0
		for slot, d := range c.duels[:f.slots()] {
			if d.rounds == 0 {
				continue
			}
			e := f.evidence(d, slot, within, alpha)
			e.Round = r.round
			better = min(better, e.better)
			if c.beside = e; e.worse <= alpha {
				c.leaving = &e
				break
			}
		}
		if c.settled = better <= alpha; c.leaving == nil && !c.settled {
			unsure = max(unsure, better*pairs)
		}
	}
	f.sure = min(search.Confidence, max(0, 1-unsure))
}

// evidence judges a duel.
func (f *field) evidence(d duel, slot int, within, alpha float64) Evidence {
	length := max(0, slot-1)
	e := Evidence{Length: f.lengths[length], Rounds: d.rounds, Ratio: math.Exp(d.mean), High: math.Inf(1), Leader: f.leader.topology.Name, better: 1, worse: 1}
	if !f.tested { // a start's memory, as it was seen
		e.Low, e.High = e.Ratio, e.Ratio
		e.worse, e.better = decided(d.mean > within), decided(d.mean >= -within)
		return e
	}
	if !(d.variance > 0) || d.df <= 0 {
		return e
	}
	allow, standard := f.allowance(length), math.Sqrt(d.variance/float64(d.rounds))
	half := stats.AnytimeHalfWidth(d.rounds, d.df, alpha)*standard + allow
	e.Low, e.High = math.Exp(d.mean-half), math.Exp(d.mean+half)
	if over := (d.mean - within - allow) / standard; over > 0 {
		e.worse = stats.AnytimeP(over, d.rounds, d.df)
	}
	if over := (d.mean + within - allow) / standard; over > 0 {
		e.better = stats.AnytimeP(over, d.rounds, d.df)
	}
	return e
}

// decided is the p of something that is not tested.
func decided(yes bool) float64 {
	if yes {
		return 0
	}
	return 1
}
