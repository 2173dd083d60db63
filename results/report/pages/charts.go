package pages

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/report/chart"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// Limits of what charts show by name; a page says where they were reached.
const (
	mostMarks  = 250 // points that can be focused; the others are dots
	mostGroups = 24  // topologies with bars
	mostLines  = 8
)

// A drawing is a chart with what a page says about it.
type drawing struct {
	chart   chart.Chart
	caption string
}

// spreadOf is what is drawn as a whisker: the interval of the median, or of
// too few repeats for one their range.
func spreadOf(s *stats.Sample, u words.Unit) *chart.Range {
	switch {
	case s == nil || s.N < 2:
		return nil
	case s.Interval != nil:
		return &chart.Range{Low: s.Interval.Low / u.Scale, High: s.Interval.High / u.Scale}
	}
	return &chart.Range{Low: s.Min / u.Scale, High: s.Max / u.Scale}
}

// whiskers says what they are, where there are any.
func (b *builder) whiskers() string {
	if slices.ContainsFunc(b.summaries, func(s verdict.Summary) bool { return len(s.Speaking) > 1 }) {
		return whiskersText
	}
	return ""
}

const whiskersText = "Whiskers are the interval of the median, or the range of too few repeats for one."

// kindOf is the kind of topology. Each has a colour.
func kindOf(t scenarios.Topology) string {
	name := t.Server
	if t.Class != "" {
		name += " " + t.Class
	}
	if t.Proxy != "" {
		name = t.Proxy + " + " + name
	}
	return show.Line(name)
}

// tradeoff shows duration against peak memory of the cells that a
// recommendation chooses from.
func (b *builder) tradeoff() *drawing {
	duration := results.Metric(results.MetricDuration)
	frontier := verdict.FindFrontier(b.summaries, duration)
	if len(frontier.Candidates) == 0 || frontier.Candidates[0].Peak(frontier.Memory) == nil {
		return nil
	}
	front := map[string]bool{}
	var line []chart.Point
	for _, s := range frontier.Members {
		front[s.Name()] = true
		line = append(line, chart.Point{X: s.Peak(frontier.Memory).Median / words.MiB, Y: s.Duration.Median})
	}
	kinds := map[string]int{}
	var legend []chart.Key
	var marks chart.Marks
	var dots []chart.Point
	var rest []verdict.Summary
	for _, s := range frontier.Candidates {
		kind := kindOf(s.Topology)
		if _, known := kinds[kind]; !known {
			i := len(kinds)
			kinds[kind] = i
			if i < mostLines {
				legend = append(legend, chart.Key{Label: kind, Ink: chart.Series(i), Shape: chart.ShapeOf(i)})
			}
		}
		if !front[s.Name()] {
			rest = append(rest, s)
		}
	}
	add := func(s verdict.Summary, front bool) {
		i := kinds[kindOf(s.Topology)]
		marks = append(marks, chart.Mark{
			X: s.Peak(frontier.Memory).Median / words.MiB, Y: s.Duration.Median,
			XRange: spreadOf(s.Peak(frontier.Memory), words.Mebibytes()), YRange: spreadOf(s.Duration, words.Seconds()),
			Label: b.markText(s, frontier.Memory), Link: b.href(s), Ink: chart.Series(i), Shape: chart.ShapeOf(i),
			Front: front, Tag: show.Line(s.Condition()),
		})
	}
	for i, s := range rest {
		// Of very many, those that can be pointed at are spread over all.
		if len(rest) > mostMarks && i%(len(rest)/mostMarks+1) != 0 {
			dots = append(dots, chart.Point{X: s.Peak(frontier.Memory).Median / words.MiB, Y: s.Duration.Median})
			continue
		}
		add(s, false)
	}
	for _, s := range frontier.Members {
		add(s, true)
	}
	legend = append(legend, chart.Key{Label: "nothing is faster with no more memory", Ink: chart.InkFront, Shape: chart.Ring})
	d := &drawing{chart: chart.Chart{
		Name: "tradeoff", Title: "Duration against " + words.PeakName(frontier.Memory) + ", " + show.Plural(frontier.Requests, "request"),
		Text: fmt.Sprintf("Duration against %s of %s. On the front, from the least memory to the most: %s.",
			words.PeakName(frontier.Memory), show.Plural(len(frontier.Candidates), "cell"), b.namesOf(frontier.Members, frontier.Memory)),
		X: chart.Axis{Label: words.PeakName(frontier.Memory) + ", MiB"}, Y: chart.Axis{Label: "duration, s"},
		Legend: legend, Height: 340,
		Layers: []chart.Layer{chart.Dots{Points: dots, Ink: chart.Series(7)},
			chart.Line{Points: line, Ink: chart.InkFront, Width: 1.25, Dashed: true}, marks},
	}}
	d.caption = strings.TrimSpace("Lower left is better. " + b.whiskers())
	if len(dots) > 0 {
		d.caption += fmt.Sprintf(" Of %d cells, %d are dots without a name: the table of all cells has them.", len(frontier.Candidates), len(dots))
	}
	return d
}

// markText is what hovering a cell says.
func (b *builder) markText(s verdict.Summary, memory string) string {
	text := show.Line(s.Name())
	if s.Duration != nil {
		text += "\n" + words.Sample(units.Seconds, s.Duration)
		if ratio := b.baselines.Ratio(s, results.Metric(results.MetricDuration)); ratio.Ratio != nil {
			text += ", " + words.Ratio(ratio, 1) + " of the baseline"
		}
	}
	if peak := s.Peak(memory); peak != nil {
		text += "\n" + words.Mebibytes().Text(peak, 0) + " " + words.PeakName(memory)
	}
	return text
}

func (b *builder) namesOf(cells []verdict.Summary, memory string) string {
	var text string
	for i, s := range cells {
		if i == 12 {
			return text + fmt.Sprintf(" and %d more", len(cells)-i)
		}
		if i > 0 {
			text += "; "
		}
		text += fmt.Sprintf("%s, %s and %s", show.Line(s.Condition()),
			words.Seconds().Text(s.Duration, 2), words.Mebibytes().Text(s.Peak(memory), 0))
	}
	return text
}

// barsOf is a bar for each cell of one number of requests, by topology: the
// experiment's bar charts.
func (b *builder) barsOf(cells []verdict.Summary, m results.Figure, name, requests string) *drawing {
	cells = slices.DeleteFunc(slices.Clone(cells), func(s verdict.Summary) bool { return s.Sample(m) == nil })
	var groups []chart.Group
	var modes []string
	var samples []*stats.Sample
	for _, s := range cells {
		samples = append(samples, s.Sample(m))
	}
	u := words.UnitOf(m.Unit)
	decimals, skipped := u.Decimals(samples), len(cells)
	byTopology := verdict.GroupBy(cells, func(s verdict.Summary) string { return s.Topology.Name })
	for _, of := range byTopology[:min(len(byTopology), mostGroups)] {
		group := chart.Group{Label: show.Line(of[0].Topology.Name)}
		for _, s := range of[:min(len(of), mostLines)] {
			mode, value := show.Line(s.Load.Mode()), s.Sample(m)
			if !slices.Contains(modes, mode) {
				modes = append(modes, mode)
			}
			group.Bars = append(group.Bars, chart.Bar{
				Value: value.Median / u.Scale, Range: spreadOf(value, u), Figure: u.Number(value.Median, decimals),
				Label: show.Line(s.Name()) + "\n" + spreadText(value, u, decimals), Link: b.href(s), Ink: chart.Series(slices.Index(modes, mode)),
			})
			skipped--
		}
		groups = append(groups, group)
	}
	if len(groups) == 0 {
		return nil
	}
	c := chart.Bars(groups)
	c.Name, c.Title, c.X.Label = name, words.Capital(m.Title)+" by topology and load, "+requests, u.Name
	c.Text = c.Title + ": the figures are those of the table with the same name."
	for i, mode := range modes {
		c.Legend = append(c.Legend, chart.Key{Label: mode, Ink: chart.Series(i), Shape: chart.Swatch})
	}
	d := &drawing{chart: c, caption: b.whiskers()}
	if skipped > 0 {
		d.caption += fmt.Sprintf(" %s more than fit here.", show.Plural(skipped, "cell"))
	}
	return d
}

// linesOf joins the durations of cells with the same label over x, with whiskers.
func (b *builder) linesOf(cells []verdict.Summary, label func(verdict.Summary) string, name, title, xLabel string, x func(verdict.Summary) float64, log bool) *drawing {
	c := chart.Chart{
		Name: name, Title: title, Text: title + ": the figures are those of the tables.",
		X: chart.Axis{Label: xLabel, Log: log}, Y: chart.Axis{Label: "duration, s", Log: log, Zero: !log}, Height: 230,
	}
	d := &drawing{caption: b.whiskers()}
	all := verdict.GroupBy(slices.DeleteFunc(slices.Clone(cells), func(s verdict.Summary) bool { return s.Duration == nil }), label)
	if len(all) > mostLines {
		d.caption += fmt.Sprintf(" %d of %d topologies are shown.", mostLines, len(all))
		all = all[:mostLines]
	}
	var places []float64
	for i, of := range all {
		line := chart.Line{Ink: chart.Series(i)}
		var marks chart.Marks
		for _, cell := range of {
			at := chart.Point{X: x(cell), Y: cell.Duration.Median}
			places = append(places, at.X)
			line.Points = append(line.Points, at)
			marks = append(marks, chart.Mark{
				X: at.X, Y: at.Y, YRange: spreadOf(cell.Duration, words.Seconds()), Ink: chart.Series(i), Shape: chart.ShapeOf(i),
				Label: b.markText(cell, b.memory), Link: b.href(cell),
			})
		}
		slices.SortFunc(line.Points, func(a, b chart.Point) int { return cmp.Compare(a.X, b.X) })
		c.Layers = append(c.Layers, line, marks)
		c.Legend = append(c.Legend, chart.Key{Label: label(of[0]), Ink: chart.Series(i), Shape: chart.ShapeOf(i)})
	}
	slices.Sort(places)
	places = slices.Compact(places)
	if len(places) < 2 {
		return nil
	}
	if len(places) <= 8 {
		for _, at := range places {
			c.X.Ticks = append(c.X.Ticks, chart.Tick{At: at, Label: words.Plainly(at)})
		}
	}
	d.chart = c
	return d
}
