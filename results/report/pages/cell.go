package pages

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/chart"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// A cellView is everything about one cell.
type cellView struct {
	ID       string
	Name     string
	Words    string // that a filter looks in
	Line     string // its figures
	Status   *status
	Open     bool
	Bound    string
	Figures  []figureView
	Repeats  *report.Grid
	Doubts   []string
	Failures []report.Item
	Ran      []ranView
	Proxies  []string // ids of its configurations in the page
}

// RepeatsName says what the table of repeats is.
func (v cellView) RepeatsName() string { return "repeats of " + v.Name }

type ranView struct {
	Label string
	Lines []string
}

// newCell looks at one cell. records are all of its repeats.
func (b *builder) newCell(s verdict.Summary, records []results.Record) cellView {
	view := cellView{ID: b.ids[s.Name()], Name: show.Line(s.Name())}
	var parts []string
	if s.Duration != nil {
		parts = append(parts, words.Sample(units.Seconds, s.Duration))
	}
	if peak := s.Peak(b.memory); peak != nil {
		parts = append(parts, words.Mebibytes().Text(peak, 0))
	}
	view.Line = strings.Join(parts, ", ")
	if bound := verdict.BoundOf(s, b.run.Plan, b.run.Host); report.Used(s) {
		view.Bound = show.Line(fmt.Sprintf("Bound by: %s. %s.", bound.By, words.Capital(strings.TrimSuffix(bound.Why, "."))))
	}
	view.Status = b.cellStatus(s)
	view.Words = view.Name + " " + view.Status.Text + " " + show.Line(strings.Join(s.Flags, " "))
	for _, flag := range s.Flags {
		view.Doubts = append(view.Doubts, show.Line(words.WithMeaning(flag)))
	}
	for _, reason := range slices.Concat(s.GPUReasons, s.MainReasons) {
		view.Doubts = append(view.Doubts, show.Line("not measured: "+reason))
	}
	for _, i := range report.ErrorList(records).Items {
		view.Doubts = append(view.Doubts, i.Name+": "+i.Text)
	}
	for _, record := range slices.Concat(s.Failures, s.Prunings) {
		name := "Repeat %d failed"
		if record.Status == results.StatusPruned {
			name = "Repeat %d was pruned"
		}
		view.Failures = append(view.Failures, report.Item{
			Name: fmt.Sprintf(name, record.Cell.Repeat),
			Text: show.Clean(cmp.Or(record.Reason, "no reason was recorded")),
			Log:  show.LogEnd(record.LogTail),
		})
	}
	view.Repeats = repeatsGrid(records)
	view.Ran, view.Proxies = b.whatRan(records)
	for _, c := range []*chart.Chart{latencyChart(s), gpuChart(s), memoryChart(s)} {
		if c != nil {
			view.Figures = append(view.Figures, newFigure(*c, "", chart.Narrow))
		}
	}
	return view
}

// ownFlags are a cell's flags without those that every cell of the run has.
func (b *builder) ownFlags(s verdict.Summary) string {
	own := slices.DeleteFunc(slices.Clone(s.Flags), func(flag string) bool { return slices.Contains(b.notes.Everywhere, flag) })
	return show.Line(strings.Join(own, ", "))
}

func (b *builder) cellStatus(s verdict.Summary) *status {
	switch {
	case s.Spared():
		return &status{results.StatusPruned, ""}
	case s.OK == 0:
		return &status{results.StatusFailed, "bad"}
	case s.Failed > 0:
		return &status{fmt.Sprintf("%d of %d failed", s.Failed, s.Repeats()), "bad"}
	case s.Pruned > 0:
		return &status{fmt.Sprintf("%d of %d pruned", s.Pruned, s.Repeats()), "bad"}
	case s.Errors > 0:
		return &status{show.Plural(s.Errors, "error"), "bad"}
	case b.ownFlags(s) != "":
		return &status{b.ownFlags(s), "warn"}
	}
	return &status{"ok", "ok"}
}

// repeatsGrid has a row for each repeat.
func repeatsGrid(records []results.Record) *report.Grid {
	g := &report.Grid{Labels: 1, Head: []string{"repeat", "status", "duration", "throughput", "p50", "p90", "p99", "max", "errors", "GPU peak", "stack peak", "stack CPU", "client CPU"}}
	figure := func(value *float64, scale float64, decimals int, unit string) report.Entry {
		if value == nil {
			return report.Entry{Text: words.Missing}
		}
		return report.Entry{Text: fmt.Sprintf("%.*f %s", decimals, *value/scale, unit)}
	}
	// Only a client that was put somewhere measures the network to the stack.
	trips := slices.ContainsFunc(records, func(r results.Record) bool { return r.Load.RoundTrip != nil })
	if trips {
		g.Head = append(g.Head, "round trip p50", "p99", "n")
	}
	for _, r := range records {
		row := []report.Entry{{Text: fmt.Sprint(r.Cell.Repeat)}, {Text: show.Line(r.Status)}}
		row = append(row, figure(r.Duration, 1, 3, "s"), figure(r.Throughput(), 1, 2, "/s"))
		for _, p := range []float64{50, 90, 99, 100} {
			if r.Latency == nil || r.Latency.Count() == 0 {
				row = append(row, report.Entry{Text: words.Missing})
				continue
			}
			value := r.Latency.Percentile(p).Seconds()
			row = append(row, figure(&value, 1e-3, 1, "ms"))
		}
		errors := report.Entry{Text: words.Missing}
		if r.Attempted() {
			errors.Text = fmt.Sprint(r.Errors)
		}
		row = append(row, errors, report.Entry{Text: mibText(r.GPU.Peak)}, report.Entry{Text: mibText(r.Memory.Peak)},
			figure(r.CPU.Stack, 1, 2, "s"), figure(r.CPU.Client, 1, 2, "s"))
		if trip := r.Load.RoundTrip; trip != nil {
			row = append(row, figure(&trip.P50, 1e-3, 3, "ms"), figure(&trip.P99, 1e-3, 3, "ms"), report.Entry{Text: fmt.Sprint(trip.N)})
		} else if trips {
			row = append(row, report.Entry{Text: words.Missing}, report.Entry{Text: words.Missing}, report.Entry{Text: words.Missing})
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

func mibText(bytes *int64) string {
	if bytes == nil {
		return words.Missing
	}
	return report.WholeMiB(bytes) + " MiB"
}

// whatRan is what was read back from the stacks of a cell; what was the same
// in several repeats is said once.
func (b *builder) whatRan(records []results.Record) (ran []ranView, proxies []string) {
	add := func(label string, lines ...string) {
		lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
		if len(lines) == 0 {
			return
		}
		for i := range ran {
			if ran[i].Label == label {
				for _, line := range lines {
					if !slices.Contains(ran[i].Lines, line) {
						ran[i].Lines = append(ran[i].Lines, line)
					}
				}
				return
			}
		}
		ran = append(ran, ranView{label, lines})
	}
	for _, r := range records {
		if r.Stack == nil {
			continue
		}
		if r.Stack.Workers != nil || r.Stack.Threads != nil {
			add(show.Line(r.Topology.Server), fmt.Sprintf("workers %s, threads of each %s, from the running processes", report.Count(r.Stack.Workers), report.Count(r.Stack.Threads)))
		}
		add("route", show.Line(r.Stack.Route))
		add("class", show.Line(report.Kind(r.Stack)))
		add("in force beside the command line", show.Line(strings.Join(r.Stack.InForce, ", ")))
		add("not read back", show.Line(r.Stack.Unread))
		for _, service := range r.Stack.Services {
			label := "service " + show.Line(service.Name)
			add(label, show.Line(strings.TrimSpace(service.Image+" "+service.Digest)))
			add(label, repeated(service.Processes)...)
		}
		if id, found := b.proxies[report.WithoutUpstream(r.Stack.Proxy)]; found && !slices.Contains(proxies, id) {
			proxies = append(proxies, id)
		}
	}
	return ran, proxies
}

// repeated counts repeated lines and returns each of them once.
func repeated(lines []string) []string {
	var each []string
	for _, alike := range verdict.GroupBy(lines, func(line string) string { return line }) {
		text := show.Shorten(show.Line(alike[0]), show.LineWidth)
		if len(alike) > 1 {
			text += fmt.Sprintf("  ×%d", len(alike))
		}
		each = append(each, text)
	}
	return each
}

// latencyChart is the distribution of the answers' latency over the repeats
// that speak for the cell.
func latencyChart(s verdict.Summary) *chart.Chart {
	var all load.Latency
	for _, r := range s.Speaking {
		all.Merge(r.Latency)
	}
	if all.Count() == 0 {
		return nil
	}
	const ms = 1e-6 // from nanoseconds
	columns := chart.Columns{Ink: chart.Series(0)}
	bins := all.Bins(36)
	for _, bin := range bins {
		from, to := float64(bin.From)*ms, float64(bin.To)*ms
		if len(bins) == 1 {
			from, to = from*0.99, to*1.01 // all the same
		}
		columns.Bins = append(columns.Bins, chart.Bin{From: from, To: to, Count: float64(bin.Count),
			Label: fmt.Sprintf("%.1f to %.1f ms: %d", from, to, bin.Count)})
	}
	var rules chart.Rules
	text := "Latency of " + show.Plural(int(all.Count()), "answer")
	for _, p := range []float64{50, 90, 99} {
		at := float64(all.Percentile(p)) * ms
		label := fmt.Sprintf("p%.0f %s ms", p, words.Digits(at))
		rules = append(rules, chart.Rule{At: at, Label: label})
		text += ", " + label
	}
	return &chart.Chart{
		Name: "latency", Title: text, Text: text + ".",
		X: chart.Axis{Label: "ms"}, Y: chart.Axis{Label: "answers", Zero: true}, Height: 150,
		Layers: []chart.Layer{columns, rules},
	}
}

// gpuChart is the devices' memory over the trial of the first repeat that has
// it, with its phases; the cell's own part stands out.
func gpuChart(s verdict.Summary) *chart.Chart {
	for _, r := range s.Speaking {
		u := r.GPU
		if len(u.Trial) == 0 && len(u.Series) == 0 {
			continue
		}
		c := &chart.Chart{
			Name: "gpu", Title: fmt.Sprintf("GPU memory, repeat %d", r.Cell.Repeat),
			X: chart.Axis{Label: "s since the trial began"}, Y: chart.Axis{Label: "MiB in use on the device", Zero: true}, Height: 150,
		}
		points := u.Trial
		if len(points) == 0 {
			points, c.X.Label = u.Series, "s since the starting gun"
		}
		if u.Fake {
			c.Title += " (FAKE driver)"
		}
		c.Text = c.Title + ": " + mibText(u.Baseline) + " idle, " + mibText(u.Peak) + " at the peak."
		line := pointsLine(points)
		if len(u.Trial) > 0 {
			c.Layers = append(c.Layers, phases(u, r.Duration, points[len(points)-1].At))
		}
		c.Layers = append(c.Layers, line)
		return c
	}
	return nil
}

// phases are those of a trial, with the cell's own measurement.
func phases(u gpu.Usage, duration *float64, end float64) chart.Bands {
	var bands chart.Bands
	for i, mark := range u.Marks {
		to := end
		if i+1 < len(u.Marks) {
			to = u.Marks[i+1].At
		}
		if to > mark.At {
			bands = append(bands, chart.Band{From: mark.At, To: to, Label: show.Line(mark.Phase)})
		}
	}
	if duration != nil {
		bands = append(bands, chart.Band{From: u.Began, To: min(end, u.Began+*duration), Label: "this cell", Strong: true})
	}
	return bands
}

// memoryChart is the stack's main memory during the cell.
func memoryChart(s verdict.Summary) *chart.Chart {
	for _, r := range s.Speaking {
		if len(r.Memory.Series) == 0 {
			continue
		}
		c := &chart.Chart{
			Name: "memory", Title: fmt.Sprintf("Main memory of the stack, repeat %d", r.Cell.Repeat),
			X: chart.Axis{Label: "s since the starting gun"}, Y: chart.Axis{Label: "MiB, without page cache", Zero: true}, Height: 150,
			Layers: []chart.Layer{pointsLine(r.Memory.Series)},
		}
		c.Text = c.Title + ": " + mibText(r.Memory.Start) + " at the start, " + mibText(r.Memory.Peak) + " at the peak."
		return c
	}
	return nil
}

// pointsLine is a series of memory in MiB; a reading that failed is a hole.
func pointsLine(points []gpu.Point) chart.Line {
	line := chart.Line{Ink: chart.Series(0), Width: 1.5, Step: true}
	for _, p := range points {
		at := chart.Point{X: p.At, Y: math.NaN()}
		if p.Used != nil {
			at.Y = float64(*p.Used) / words.MiB
		}
		line.Points = append(line.Points, at)
	}
	return line
}
