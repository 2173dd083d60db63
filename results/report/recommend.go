package report

import (
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// NewRecommendationDocument lays out what is recommended of a run's cells, and how many
// of each it takes for a rate, in requests per second, unless that is 0.
func NewRecommendationDocument(run results.Run, loads []verdict.Recommendation, rate float64) Document {
	standing := words.StandingOf(run, run.Counts)
	return Document{Title: headline(run), Facts: []Fact{{"verdict", show.Line(standing.String())}}, Tone: toneOf(standing), Sections: []Section{recommendations(loads, rate, nil)}}
}

// Planned is the recommendation that the scenario asks for, if it does, with the marks of
// the document that it is in.
func Planned(run results.Run, summaries []verdict.Summary, notes *Notes) *Section {
	if run.Plan.Recommend == nil {
		return nil
	}
	goal, err := verdict.NewGoal(*run.Plan.Recommend)
	if err != nil {
		return &Section{Title: "Recommendation", Notes: []string{"None: " + show.Line(err.Error())}}
	}
	s := recommendations(verdict.Recommend(summaries, run.Plan, goal), 0, notes)
	return &s
}

// recommendations say which topology to deploy for each load. Of a single load they say
// more. Without the notes of a document it explains its marks itself.
func recommendations(loads []verdict.Recommendation, rate float64, notes *Notes) Section {
	if notes == nil {
		var cells []verdict.Summary
		for _, r := range loads {
			cells = append(cells, r.Frontier.Candidates...)
		}
		notes = NewNotes(cells)
		s := recommendations(loads, rate, notes)
		s.Notes = append(s.Notes, notes.Legend()...)
		return s
	}
	if len(loads) == 1 {
		s := recommendation(loads[0], notes)
		if copies := loads[0].Copies(rate); copies > 0 {
			best := loads[0].Best
			s.Text = append(s.Text, fmt.Sprintf("For %.4g requests per second: %d × %s, each at %s.", rate, copies, show.Line(best.Topology.Name), words.Sample(units.PerSecond, best.Throughput)))
		}
		return s
	}
	s := Section{Title: "Recommendation"}
	if len(loads) == 0 {
		s.Notes = []string{"Nothing fits: there is no cell."}
		return s
	}
	goal := loads[max(0, slices.IndexFunc(loads, func(r verdict.Recommendation) bool { return r.Load.Rate == 0 }))].Goal
	all := verdict.Recommendation{Goal: goal}
	s.Text = []string{goalText(goal) + ", for each load: the load is the traffic, the topology is the choice."}
	mixed := slices.ContainsFunc(loads, func(r verdict.Recommendation) bool { return r.Goal.Objective.Name != goal.Objective.Name })
	s.Table = &Grid{Labels: 2, Head: []string{"load", "topology", goal.Objective.Title, words.PeakName(loads[0].Frontier.Memory), "runner-up", "change", "p"}}
	if mixed {
		s.Table.Head[2] = "figure"
	}
	if rate > 0 {
		s.Table.Head = append(s.Table.Head, "for "+words.Sample(units.PerSecond, stats.NewSample([]float64{rate})))
	}
	few := false
	var ratios []verdict.Relation
	for _, r := range loads {
		if r.RunnerUp != nil {
			ratios = append(ratios, r.RunnerUp.Relation)
		}
		all.Over = append(all.Over, r.Over...)
		all.Frontier.Objective = goal.Objective
		all.Frontier.Excluded += r.Frontier.Excluded
		all.Frontier.Scheduled += r.Frontier.Scheduled
		all.Frontier.Unmeasured += r.Frontier.Unmeasured
		row := []Entry{{Text: show.Line(verdict.ModeName(r.Load))}, {Text: "nothing fits", Tone: Bad}}
		if r.Best != nil {
			few = few || r.RunnerUp != nil && !r.RunnerUp.Able
			row = append(row[:1], loadRow(r, notes, mixed, rate)...)
			s.Text = append(s.Text, doubted(r)...)
			s.Notes = append(s.Notes, passedOver(r)...)
		}
		for len(row) < len(s.Table.Head) {
			row = append(row, Entry{})
		}
		s.Table.Rows = append(s.Table.Rows, row)
		if r.NotHeld > 0 {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: %s did not serve the rate.", show.Line(verdict.ModeName(r.Load)), show.Plural(r.NotHeld, "stack")))
		}
	}
	if few {
		s.Notes = append(s.Notes, fmt.Sprintf("Where there is no p, too few repeats could show a difference: it takes %d of each.", stats.RepeatsForDifference(1)))
	}
	if rate > 0 {
		s.Notes = append(s.Notes, "How many of a topology a rate takes is by the requests per second that one answered under that load.")
	}
	s.Notes = append(s.Notes, acrossText(ratios...)...)
	s.Notes = append(s.Notes, leftOut(all)...)
	s.Notes = append(s.Notes, "stackmeter recommend --load NAME says more of one load.")
	return s
}

// loadRow is the answer for one load.
func loadRow(r verdict.Recommendation, notes *Notes, mixed bool, rate float64) []Entry {
	figure := words.Sample(r.Goal.Objective.Unit, r.Best.Sample(r.Goal.Objective))
	if mixed {
		figure = r.Goal.Objective.Title + " " + figure
	}
	peak, runner, change, p := words.Missing, "none", "", ""
	if sample := r.Best.Peak(r.Frontier.Memory); sample != nil {
		peak = words.Mebibytes().Text(sample, 0)
	}
	if next := r.RunnerUp; next != nil {
		runner = strings.TrimSpace(show.Line(next.Summary.Topology.Name) + " " + notes.Marks(next.Summary, nil))
		change, p = changeText(r, *next), words.Missing
		if next.Able {
			p = fmt.Sprintf("%.2g", next.P)
		}
	}
	row := []Entry{
		{Text: strings.TrimSpace(show.Line(r.Best.Topology.Name) + " " + notes.Marks(*r.Best, nil)), Tone: Best},
		{Text: figure}, {Text: peak}, {Text: runner}, {Text: change}, {Text: p},
	}
	if rate > 0 {
		copies := Entry{Text: words.Missing} // what it answers each second is not known
		if n := r.Copies(rate); n > 0 {
			copies.Text = fmt.Sprintf("%d ×", n)
		}
		row = append(row, copies)
	}
	return row
}

// recommendation says which cell to deploy, what it was chosen over, and what
// more and less memory would mean.
func recommendation(r verdict.Recommendation, notes *Notes) Section {
	s := Section{Title: "Recommendation for " + show.Line(verdict.ModeName(r.Load)) + ", " + show.Plural(r.Frontier.Requests, "request")}
	s.Text = []string{goalText(r.Goal) + "."}
	if r.NotHeld > 0 {
		s.Text = append(s.Text, show.Plural(r.NotHeld, "stack")+" did not serve the rate.")
	}
	if r.Best == nil {
		s.Notes = append([]string{"Nothing fits."}, leftOut(r)...)
		return s
	}
	s.Text = append(s.Text, bestText(r))
	s.Text = append(s.Text, doubted(r)...)
	s.Table = choices(r, notes)
	s.Notes = append(s.Notes, passedOver(r)...)
	ratios := []verdict.Relation{r.Ratio}
	for _, c := range beside(r) {
		ratios = append(ratios, c.Relation)
	}
	s.Notes = append(s.Notes, acrossText(ratios...)...)
	if slices.ContainsFunc(beside(r), func(c besideBest) bool { return c.Difference.Able }) {
		s.Notes = append(s.Notes, fmt.Sprintf("p is a rank test's for the difference to the best: one is shown up to %.2g.", 1-stats.Confidence))
	}
	if slices.ContainsFunc(beside(r), func(c besideBest) bool { return !c.Difference.Able }) {
		s.Notes = append(s.Notes, fmt.Sprintf("Too few repeats: no difference that %s could show, it takes %d of each; the order is that of the medians.",
			fewestRepeats(r), stats.RepeatsForDifference(1)))
	}
	if slices.ContainsFunc(beside(r), func(c besideBest) bool { return r.IsOver(c.Summary) }) {
		s.Notes = append(s.Notes, overNote)
	}
	s.Notes = append(s.Notes, leftOut(r)...)
	return s
}

// Reasons says what was looked for, and what was found: why a topology is deployed.
func Reasons(r verdict.Recommendation) []string {
	return []string{goalText(r.Goal) + ", for " + show.Line(verdict.ModeName(r.Load)) + ".", bestText(r)}
}

// passedOver says why the best one is not the one with the best median.
func passedOver(r verdict.Recommendation) []string {
	if r.PassedOver == nil {
		return nil
	}
	return []string{fmt.Sprintf("%s has the better median, by %+.1f%% to %+.1f%% with %.0f%% (%s): as good within %.0f%%, and the one that needs less memory is preferred.",
		show.Line(r.PassedOver.Summary.Condition()), 100*(r.PassedOver.Interval.Low-1), 100*(r.PassedOver.Interval.High-1), 100*stats.Confidence,
		repeatsOf(r.PassedOver.Difference), 100*verdict.AlikeShare)}
}

// doubted are warnings about the best cell and the one after it, where a flag
// voids what they were chosen by.
func doubted(r verdict.Recommendation) []string {
	var lines []string
	warn := func(role string, s verdict.Summary) {
		if text := words.Doubt(s, r.Metrics()...); text != "" {
			lines = append(lines, fmt.Sprintf("In doubt, the %s, %s: %s.", role, show.Line(s.Condition()), text))
		}
	}
	warn("best", *r.Best)
	if r.RunnerUp != nil {
		warn("runner-up", r.RunnerUp.Summary)
	}
	return lines
}

// goalText says what was looked for.
func goalText(g verdict.Goal) string {
	text := "The lowest "
	if g.Objective.Higher {
		text = "The highest "
	}
	text += g.Objective.Title
	if bounds := g.Bounds(); len(bounds) > 0 {
		text += " with " + strings.Join(bounds, ", ") + " in every repeat"
	}
	return text
}

// bestText is the answer in a sentence.
func bestText(r verdict.Recommendation) string {
	objective := r.Best.Sample(r.Goal.Objective)
	text := fmt.Sprintf("%s: %s %s", show.Line(r.Best.Condition()), r.Goal.Objective.Title, words.Sample(r.Goal.Objective.Unit, objective))
	if peak := r.Best.Peak(r.Frontier.Memory); peak != nil && r.Goal.Objective.Name != results.PeakMetric(r.Frontier.Memory) {
		text += fmt.Sprintf(" at %s of %s", words.Sample(units.Bytes, peak), words.MemoryName(r.Frontier.Memory))
	}
	if r.Ratio.Ratio != nil && r.Baseline.Name() != r.Best.Name() {
		text += fmt.Sprintf(", %s of %s", words.Ratio(r.Ratio, 2), show.Line(r.Baseline.Condition()))
	}
	return text + fmt.Sprintf(" (%s).", show.Plural(objective.N, "repeat"))
}

// A besideBest is a cell beside the best one and what it is there for.
type besideBest struct {
	*verdict.Choice
	role string
}

// beside are the cells beside the best one, each once.
func beside(r verdict.Recommendation) []besideBest {
	var rows []besideBest
	for _, row := range []besideBest{{r.RunnerUp, "runner-up"}, {r.More, "more memory"}, {r.Less, "less memory"}} {
		if row.Choice == nil {
			continue
		}
		if len(rows) > 0 && rows[0].Summary.Name() == row.Summary.Name() {
			rows[0].role += ", " + row.role
			continue
		}
		if r.IsOver(row.Summary) {
			row.role += ", over the budget"
		}
		rows = append(rows, row)
	}
	return rows
}

// overNote is below a table with a row that is over the budget.
const overNote = "What is over the budget is no proposal: it is what another budget would buy."

// choices is the table of the best cell and those beside it, with the marks of
// their flags.
func choices(r verdict.Recommendation, notes *Notes) *Grid {
	rows := beside(r)
	objectives, peaks := []*stats.Sample{r.Best.Sample(r.Goal.Objective)}, []*stats.Sample{r.Best.Peak(r.Frontier.Memory)}
	for _, row := range rows {
		objectives = append(objectives, row.Summary.Sample(r.Goal.Objective))
		peaks = append(peaks, row.Summary.Peak(r.Frontier.Memory))
	}
	figure, bytes := words.UnitOf(r.Goal.Objective.Unit), words.Mebibytes()
	figures, memory := figure.Decimals(objectives), bytes.Decimals(peaks)
	g := &Grid{Labels: 2, Head: []string{"choice", "condition", r.Goal.Objective.Title, words.PeakName(r.Frontier.Memory), "change", "memory", "p"}}
	tested := slices.ContainsFunc(rows, func(row besideBest) bool { return row.Difference.Able })
	if !tested {
		g.Head = g.Head[:len(g.Head)-1] // nothing would stand below p
	}
	add := func(role, condition Entry, i int, change, more, p string) {
		row := []Entry{role, condition,
			{Text: strings.TrimSpace(figure.Text(objectives[i], figures))}, {Text: bytes.Text(peaks[i], memory)},
			{Text: change}, {Text: more}, {Text: p}}
		g.Rows = append(g.Rows, row[:len(g.Head)])
	}
	marked := func(s verdict.Summary) Entry {
		return Entry{Text: strings.TrimSpace(show.Line(s.Condition()) + " " + notes.Marks(s, nil))}
	}
	add(Entry{Text: "best", Tone: Best}, marked(*r.Best), 0, "", "", "")
	for i, row := range rows {
		more := words.Missing
		if row.Bytes != nil {
			more = fmt.Sprintf("%+.0f MiB", *row.Bytes/words.MiB)
		}
		p := words.Missing
		if row.Difference.Able {
			p = fmt.Sprintf("%.2g", row.Difference.P)
		}
		add(Entry{Text: row.role}, marked(row.Summary), i+1, changeText(r, *row.Choice), more, p)
	}
	return g
}

// changeText is how much more a choice has of the objective than the best one.
func changeText(r verdict.Recommendation, c verdict.Choice) string {
	objective := r.Goal.Objective
	before, after := r.Best.Sample(objective).Median, c.Summary.Sample(objective).Median
	if c.Among > 0 { // what is to be expected, and not what the medians say
		after = before * *c.Ratio
	}
	return words.Across(words.Change(objective.Unit, before, after), c.Relation)
}

func repeatsOf(d stats.Difference) string {
	if d.N1 == d.N2 {
		return show.Plural(d.N1, "repeat")
	}
	return fmt.Sprintf("%d and %d repeats", d.N1, d.N2)
}

// fewestRepeats is how many repeats there are where there are too few.
func fewestRepeats(r verdict.Recommendation) string {
	fewest := r.Best.Sample(r.Goal.Objective).N
	for _, row := range beside(r) {
		fewest = min(fewest, row.Difference.N2)
	}
	return show.Plural(fewest, "repeat")
}

// mostNamed is how many cells a note names.
const mostNamed = 5

// leftOut says which cells could not be chosen, and for which budgets.
func leftOut(r verdict.Recommendation) []string {
	var notes []string
	for _, budget := range r.Goal.Under {
		var over []string
		unknown := 0
		for _, e := range r.Over {
			switch {
			case e.Budget.Metric.Name != budget.Metric.Name:
			case e.Sample == nil:
				unknown++
			default:
				over = append(over, fmt.Sprintf("%s (%s in repeat %d)", show.Line(e.Summary.Condition()), show.Line(budget.In(e.Value)), e.Repeat))
			}
		}
		if len(over) > 0 {
			notes = append(notes, fmt.Sprintf("%s not within %s %s: %s.", show.Plural(len(over), "cell"), budget.Metric.Name, show.Line(budget.Text), shortList(over)))
		}
		if unknown > 0 {
			notes = append(notes, fmt.Sprintf("%s left out: %s is not known of every repeat.", show.Plural(unknown, "cell"), budget.Metric.Name))
		}
	}
	return append(notes, noCandidates(r.Frontier)...)
}

// noCandidates says which cells nothing was chosen from.
func noCandidates(f verdict.Frontier) (notes []string) {
	if f.Excluded > 0 {
		notes = append(notes, fmt.Sprintf("%s left out: failed, with errors among the answers, or without a figure for %s.", show.Plural(f.Excluded, "cell"), f.Objective.Title))
	}
	if f.Scheduled > 0 {
		notes = append(notes, show.Plural(f.Scheduled, "open loop")+" left out: how long one takes is its schedule's; `stackmeter recommend` takes another objective, such as p99.")
	}
	if f.Unmeasured > 0 {
		notes = append(notes, show.Plural(f.Unmeasured, "cell")+" left out: the memory is not known.")
	}
	return notes
}
