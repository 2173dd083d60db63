package pages

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"stackmeter/results"
	"stackmeter/results/report/chart"
	"stackmeter/results/stats"
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
	requests := b.requests()
	for _, n := range requests[max(0, len(requests)-2):] {
		cells := b.at(n)
		title := show.Plural(n, "request")
		add(b.barsOf(cells, fmt.Sprintf("duration-n%d", n), "Duration by topology and load, "+title, words.Seconds(),
			func(s verdict.Summary) *stats.Sample { return s.Duration }))
		add(b.barsOf(cells, fmt.Sprintf("memory-n%d", n), words.Capital(words.PeakName(b.memory))+" by topology and load, "+title, words.Mebibytes(),
			func(s verdict.Summary) *stats.Sample { return s.Peak(b.memory) }))
	}
	if len(requests) > 0 {
		n := requests[len(requests)-1]
		for _, client := range []string{scenarios.ClientMP, scenarios.ClientMT} {
			lines := b.lines(b.at(n), func(s verdict.Summary) bool { return s.Load.Client == client && !s.Load.KeepAlive },
				func(s verdict.Summary) string { return show.Line(s.Topology.Name) })
			add(b.linesOf(lines, fmt.Sprintf("pool-%s-n%d", client, n), fmt.Sprintf("Duration by pool, %s, %s", client, show.Plural(n, "request")),
				"pool", func(s verdict.Summary) float64 { return float64(s.Load.Pool) }, false))
		}
	}
	if len(requests) > 1 {
		topologies := groupNames(b.summaries)
		for _, topology := range topologies[:min(len(topologies), 4)] {
			lines := b.lines(b.summaries, func(s verdict.Summary) bool { return s.Topology.Name == topology }, b.lineName(topology))
			add(b.linesOf(lines, "requests-"+fileName(topology), "Duration by number of requests, "+show.Line(topology),
				"requests", func(s verdict.Summary) float64 { return float64(s.Load.Requests) }, true))
		}
	}
	return all
}

// lineName names the lines of a topology's chart by number of requests: by
// client, where each number of requests has one pool, otherwise with the pool.
func (b *builder) lineName(topology string) func(verdict.Summary) string {
	loads := map[string]int{}
	var most int
	for _, s := range b.summaries {
		if s.Topology.Name == topology {
			key := fmt.Sprint(s.Load.Requests, s.Load.Client, s.Load.KeepAlive)
			loads[key]++
			most = max(most, loads[key])
		}
	}
	if most == 1 {
		return func(s verdict.Summary) string { return show.Line(s.Load.Client) }
	}
	return func(s verdict.Summary) string { return show.Line(s.Load.Mode()) }
}

// lines groups cells by the line that they are on, in order.
func (b *builder) lines(cells []verdict.Summary, keep func(verdict.Summary) bool, name func(verdict.Summary) string) []series {
	var all []series
	at := map[string]int{}
	for _, s := range cells {
		if !keep(s) || s.Duration == nil {
			continue
		}
		i, known := at[name(s)]
		if !known {
			i = len(all)
			at[name(s)] = i
			all = append(all, series{label: name(s)})
		}
		all[i].cells = append(all[i].cells, s)
	}
	return all
}

// requests are the numbers of requests of the cells, from the smallest on.
func (b *builder) requests() []int {
	var all []int
	for _, s := range b.summaries {
		all = append(all, s.Load.Requests)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// at are the cells of one number of requests.
func (b *builder) at(requests int) []verdict.Summary {
	var cells []verdict.Summary
	for _, s := range b.summaries {
		if s.Load.Requests == requests {
			cells = append(cells, s)
		}
	}
	return cells
}

// groupNames lists the topologies in the order of the summaries.
func groupNames(summaries []verdict.Summary) []string {
	var names []string
	seen := map[string]bool{}
	for _, s := range summaries {
		if !seen[s.Topology.Name] {
			seen[s.Topology.Name] = true
			names = append(names, s.Topology.Name)
		}
	}
	return names
}

// fileName makes a name that is safe in any folder: letters, digits and -.
func fileName(text string) string {
	var name []byte
	for i := 0; i < len(text) && len(name) < 60; i++ {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			name = append(name, c)
		case c >= 'A' && c <= 'Z':
			name = append(name, c-'A'+'a')
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
