package verdict

import (
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
)

// A field are the cells among which the best was picked, see stats.Pick.
type field struct {
	at     map[string]int // with those that are only compared
	best   string
	picked int         // candidates
	pick   *stats.Pick // nil: too little is known of them
}

// newField is that of candidates of which best is the one with the best median of a figure. It
// counts the rounds that all have, with those besides that are compared with it alone.
func newField(candidates, besides []Summary, m results.Figure, best Summary) field {
	f := field{at: map[string]int{}, best: best.Name(), picked: len(candidates)}
	byRound := map[int][]float64{}
	all := slices.Concat(candidates, besides)
	for i := range all {
		f.at[all[i].Name()] = i
		for k := range all[i].Speaking {
			r := &all[i].Speaking[k]
			if v := m.Of(r); v != nil && len(byRound[r.Cell.Repeat]) == i {
				byRound[r.Cell.Repeat] = append(byRound[r.Cell.Repeat], *v)
			}
		}
	}
	values := make([][]float64, len(all))
	for _, r := range best.Speaking {
		if round := byRound[r.Cell.Repeat]; len(round) == len(all) {
			for i, v := range round {
				values[i] = append(values[i], v)
			}
		}
	}
	f.pick = stats.NewPick(values, len(candidates), m.Higher)
	return f
}

// fair takes out of a relation between the best and another cell what is the luck of being
// picked; next says that the other is the one that is next best. The interval is widened to
// that side.
func (f field) fair(r Relation, base, head Summary, next bool) Relation {
	other, inverse := head.Name(), false
	if head.Name() == f.best {
		other, inverse = base.Name(), true
	} else if base.Name() != f.best {
		return r
	}
	i, has := f.at[other]
	if f.pick == nil || f.picked < 2 || !has || other == f.best || r.Ratio == nil || *r.Ratio <= 0 {
		return r
	}
	shift := f.pick.Lead(f.at[f.best], i, next)
	if inverse {
		shift = 1 / shift
	}
	ratio := shift * *r.Ratio
	r.Measured, r.Among = r.Ratio, f.picked
	if r.Interval != nil {
		r.Interval = &stats.Interval{Low: min(r.Interval.Low, shift*r.Interval.Low), High: max(r.Interval.High, shift*r.Interval.High), Confidence: r.Interval.Confidence}
	}
	r.Ratio, r.Change = &ratio, stats.Change(1, ratio)
	return r
}
