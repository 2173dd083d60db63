package pages

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/report/chart"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// drawings are the charts of a run, as the reference experiment showed its
// tables: durations by topology and by pool, by number of requests, and memory
// by topology.
func (b *builder) drawings() []drawing {
	var all []drawing
	add := func(d *drawing) {
		if d != nil {
			all = append(all, *d)
		}
	}
	byRequests := verdict.GroupBy(b.summaries, func(s verdict.Summary) int { return s.Load.Requests })
	for _, cells := range byRequests[max(0, len(byRequests)-2):] {
		n := cells[0].Load.Requests
		for _, of := range []struct{ name, metric string }{{"duration", results.MetricDuration}, {"memory", results.PeakMetric(b.memory)}} {
			add(b.barsOf(cells, results.Metric(of.metric), fmt.Sprintf("%s-n%d", of.name, n), show.Plural(n, "request")))
		}
	}
	topology := func(s verdict.Summary) string { return show.Line(s.Topology.Name) }
	if len(byRequests) > 0 {
		last := byRequests[len(byRequests)-1]
		n := last[0].Load.Requests
		for _, client := range []string{scenarios.ClientMP, scenarios.ClientMT} {
			cells := slices.DeleteFunc(slices.Clone(last), func(s verdict.Summary) bool { return s.Load.Client != client || s.Load.KeepAlive })
			add(b.linesOf(cells, topology, fmt.Sprintf("pool-%s-n%d", client, n), fmt.Sprintf("Duration by pool, %s, %s", client, show.Plural(n, "request")),
				"pool", func(s verdict.Summary) float64 { return float64(s.Load.Pool) }, false))
		}
	}
	if len(byRequests) > 1 {
		byTopology := verdict.GroupBy(b.summaries, func(s verdict.Summary) string { return s.Topology.Name })
		for _, cells := range byTopology[:min(len(byTopology), 4)] {
			add(b.linesOf(cells, lineName(cells), "requests-"+fileName(cells[0].Topology.Name), "Duration by number of requests, "+topology(cells[0]),
				"requests", func(s verdict.Summary) float64 { return float64(s.Load.Requests) }, true))
		}
	}
	return all
}

// lineName names the lines of a topology's chart by number of requests: by
// client, where each number of requests has one pool, otherwise with the pool.
func lineName(cells []verdict.Summary) func(verdict.Summary) string {
	pools := verdict.GroupBy(cells, func(s verdict.Summary) string { return fmt.Sprint(s.Load.Requests, s.Load.Client, s.Load.KeepAlive) })
	if len(pools) == len(cells) {
		return func(s verdict.Summary) string { return show.Line(s.Load.Client) }
	}
	return func(s verdict.Summary) string { return show.Line(s.Load.Mode()) }
}

// fileName makes a name that is safe in any folder: letters, digits and -.
func fileName(text string) string {
	var name []byte
	for _, c := range []byte(strings.ToLower(text)) {
		switch {
		case len(name) == 60:
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			name = append(name, c)
		case len(name) > 0 && name[len(name)-1] != '-':
			name = append(name, '-')
		}
	}
	return cmp.Or(string(name), "x")
}

// spentChart shows what a run's wall time was spent on.
func spentChart(run results.Run) *chart.Chart {
	if run.MeasuringFraction() == nil {
		return nil
	}
	total := run.SpentTotal()
	phases := slices.Sorted(maps.Keys(run.Spent))
	slices.SortStableFunc(phases, func(a, b string) int { return cmp.Compare(run.Spent[b], run.Spent[a]) })
	group := chart.Group{}
	for _, phase := range phases {
		spent := run.Spent[phase]
		if spent <= 0 {
			continue
		}
		ink := chart.Series(7)
		if phase == results.PhaseMeasure {
			ink = chart.Series(0)
		}
		text := fmt.Sprintf("%s %s, %.1f%%", show.Line(phase), words.WallTime(spent), 100*spent/total)
		group.Bars = append(group.Bars, chart.Bar{Value: 100 * spent / total, Figure: text, Label: text, Ink: ink})
	}
	group.Label = fmt.Sprintf("%.1f%% of %s was spent measuring", 100**run.MeasuringFraction(), words.WallTime(total))
	c := chart.Bars([]chart.Group{group})
	c.Name, c.Title, c.Text = "time", "Where the time went", group.Label
	c.X.Label, c.X.Max = "% of the wall time", 100
	return &c
}
