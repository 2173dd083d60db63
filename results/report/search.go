package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// Found are what a search found, a section for each load: the answer, and each candidate
// with where it left and why. There are none of a run that is no search.
func Found(run results.Run, records []results.Record, rate float64) []*Section {
	search := words.SearchOf(run, records)
	if search == nil {
		return nil
	}
	recommended := search.Recommended(records)
	var sections []*Section
	for i, c := range search.Contests {
		s := found(c, search.Answers[i], recommended[i], rate)
		s.Text = append([]string{soughtText(recommended[i]) + "."}, s.Text...)
		sections = append(sections, &s)
	}
	if n := short(records); n > 0 && len(sections) > 0 {
		last := sections[len(sections)-1]
		last.Notes = append(last.Notes, fmt.Sprintf("%s of short loads are in the formats json and csv, and in no other table.", show.Plural(n, "record")))
	}
	if took := search.Took(run); took != "" && len(sections) > 0 {
		last := sections[len(sections)-1]
		last.Notes = append(last.Notes, "The search took "+took+".")
	}
	return sections
}

// NewFoundDocument lays out what a search found, and how many of each answer a rate takes,
// in requests per second, unless that is 0.
func NewFoundDocument(run results.Run, records []results.Record, rate float64) Document {
	standing := words.StandingOf(run, run.Counts)
	return Document{Title: headline(run), Facts: []Fact{{"verdict", show.Line(standing.String())}}, Tone: toneOf(standing), Sections: Held(Found(run, records, rate)...)}
}

// askedFor are the flags that ask for a search again, but for its time.
func askedFor(s goals.Search) (flags string) {
	for _, metric := range slices.Sorted(maps.Keys(s.Under)) {
		flags += " --under " + metric + "=" + s.Under[metric]
	}
	if s.Objective != results.MetricDuration {
		flags += " --objective " + s.Objective
	}
	return flags + fmt.Sprintf(" --within %g%% --confidence %g%%", 100*s.Within, 100*s.Confidence)
}

// figuresText are the figure that decides and the memory of the best one.
func figuresText(r verdict.Recommendation) string {
	text := strings.TrimPrefix(r.Goal.Objective.Title+" ", "duration ") + words.Sample(r.Goal.Objective.Unit, r.Best.Sample(r.Goal.Objective))
	if peak := r.Best.Peak(r.Frontier.Memory); peak != nil && r.Goal.Objective.Name != results.PeakMetric(r.Frontier.Memory) {
		text += fmt.Sprintf(", %s of %s", words.Sample(units.Bytes, peak), words.MemoryName(r.Frontier.Memory))
	}
	return text
}

// soughtText says what was looked for under a load.
func soughtText(r verdict.Recommendation) string {
	if r.Load.Client == scenarios.ClientOpen && r.Load.Rate > 0 {
		return goalText(r.Goal) + ", of what serves " + words.Plainly(r.Load.Rate) + "/s"
	}
	return goalText(r.Goal)
}

// told are the records of which tables tell repeat by repeat: of a search those of its
// answers alone. It has many of the others, and says why each of these is none.
func told(run results.Run, records []results.Record) []results.Record {
	search := words.SearchOf(run, records)
	if search == nil {
		return records
	}
	return slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool {
		return !slices.ContainsFunc(search.Answers, func(a results.Answer) bool { return a.Topology == r.Topology.Name && a.Load == r.Cell.Load.Name() })
	})
}

// short is how many records are of short loads.
func short(records []results.Record) int {
	n := 0
	for _, r := range records {
		if r.Cell.Load.Of > 0 {
			n++
		}
	}
	return n
}

func found(c race.Contest, answer results.Answer, r verdict.Recommendation, rate float64) Section {
	s := Section{Title: "Answer for " + words.LoadOf(c.Load)}
	best := "No topology is an answer"
	switch {
	case r.Best != nil:
		best = strings.TrimSuffix(bestText(r), ".")
		if copies := r.Copies(rate); copies > 0 {
			s.Text = append(s.Text, fmt.Sprintf("For %.4g requests per second: %d × %s.", rate, copies, show.Line(c.Answer)))
		}
		s.Text = append(s.Text, doubted(r)...)
	case c.Answer != "":
		best = show.Line(c.Answer) + ", by short loads alone"
	}
	s.Text = append([]string{best + ".", words.Capital(show.Line(answer.Why)) + "."}, s.Text...)
	s.Table = &Grid{Labels: 2, Head: []string{"topology", "state", c.Objective.Title, "of the best", "short", "whole"}}
	var values []*stats.Sample
	for _, candidate := range c.Candidates {
		values = append(values, sampleOf(candidate.Value))
	}
	unit := words.UnitOf(c.Objective.Unit)
	decimals := unit.Decimals(values)
	reasons := map[string][]string{}
	var order []string
	for i, candidate := range c.Candidates {
		row := texts(show.Line(candidate.Topology), words.StateOf(c, candidate), unit.Text(values[i], decimals), words.RatioText(candidate), strconv.Itoa(candidate.Short), strconv.Itoa(candidate.Whole))
		switch {
		case candidate.Topology == c.Answer:
			row[1].Tone = Best
		case candidate.State == race.StateFailed:
			row[1].Tone = Bad
		}
		s.Table.Rows = append(s.Table.Rows, row)
		if candidate.Topology == c.Answer || candidate.Reason == "" {
			continue
		}
		if reasons[candidate.Reason] == nil {
			order = append(order, candidate.Reason)
		}
		reasons[candidate.Reason] = append(reasons[candidate.Reason], show.Line(candidate.Topology))
	}
	for _, reason := range order {
		s.Notes = append(s.Notes, strings.Join(reasons[reason], ", ")+": "+show.Line(reason)+".")
	}
	return s
}

// sampleOf is one value; nil of none.
func sampleOf(value *float64) *stats.Sample {
	if value == nil {
		return nil
	}
	return stats.NewSample([]float64{*value})
}
