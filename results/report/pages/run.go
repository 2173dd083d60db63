package pages

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/chart"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// PageOptions are about the page around a report. The zero value is fit for a
// file.
type PageOptions struct {
	Nav    []Link
	Banner string  // a warning above everything else
	Follow *Follow // the run is under way and the page is served

	Changed *verdict.Comparison // with the last time; nil: there is none

	// CellAddress is where a server shows the cell of that name; nil in a file,
	// where details beyond the most that one page holds are left out.
	CellAddress func(name string) string
}

// mostDetails is how many cells of a page have their details in it, with up to
// three charts each. Of more cells those come first that somebody will want to
// look into: the ones worth having, and those with failures, errors or flags.
const mostDetails = 300

// foldFrom is from how many cells on their table is folded away: a browser
// lays out what is open.
const foldFrom = 600

// A builder makes the parts of a run's page.
type builder struct {
	run       results.Run
	summaries []verdict.Summary
	byCell    map[string][]results.Record
	baselines verdict.Baselines
	memory    string
	notes     *report.Notes
	ids       map[string]string // of the details that are in the page, by cell
	proxies   map[string]string // ids of the configurations
	address   func(name string) string
}

// href leads to a cell's details, where there are any.
func (b *builder) href(s verdict.Summary) string {
	if id := b.ids[s.Name()]; id != "" {
		return "#" + id
	}
	if b.address != nil {
		return b.address(s.Name())
	}
	return ""
}

func newBuilder(run results.Run, records []results.Record, address func(name string) string) *builder {
	b := &builder{
		run: run, summaries: verdict.SummariseRun(run, records), byCell: map[string][]results.Record{},
		ids: map[string]string{}, proxies: map[string]string{}, address: address,
	}
	b.baselines = verdict.FindBaselines(b.summaries, run.Plan)
	b.memory = verdict.MemoryKind(b.summaries)
	b.notes = report.NewNotes(b.summaries)
	name := func(r results.Record) string { return r.Topology.Name + "/" + r.Cell.Load.Name() }
	for _, repeats := range verdict.GroupBy(records, name) {
		b.byCell[name(repeats[0])] = repeats
	}
	for _, r := range records {
		if r.Stack != nil && r.Stack.Proxy != "" {
			text := report.WithoutUpstream(r.Stack.Proxy)
			if _, known := b.proxies[text]; !known {
				b.proxies[text] = ""
			}
		}
	}
	for i, text := range slices.Sorted(maps.Keys(b.proxies)) {
		b.proxies[text] = fmt.Sprintf("proxy-%d", i+1)
	}
	return b
}

// choose gives the cells that the page has details of their ids.
func (b *builder) choose(conclusion verdict.Conclusion) {
	first := map[string]bool{}
	for _, c := range conclusion.Conditions {
		first[c.Summary.Name()] = true
	}
	rank := func(s verdict.Summary) int {
		switch {
		case first[s.Name()]:
			return 0
		case !s.Clean():
			return 1
		case len(s.Flags) > len(b.notes.Everywhere):
			return 2
		}
		return 3
	}
	order := make([]int, len(b.summaries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return rank(b.summaries[x]) - rank(b.summaries[y]) })
	for _, i := range order[:min(len(order), mostDetails)] {
		b.ids[b.summaries[i].Name()] = fmt.Sprintf("cell-%d", i+1)
	}
}

// A runView is what the template "run" shows.
type runView struct {
	Answer      []report.Fact
	Loads       []string // what their names mean
	Progress    *progressView
	AnswerTitle string
	Asked       *report.Section  // the recommendation
	Found       []report.Section // of a search, instead of it and of the conclusion
	Gate        *report.Section  // what the thresholds say, where one does not hold
	Nothing     string           // said where there is no answer yet
	Conclusion  *report.Grid
	AnswerNotes []string
	Tradeoff    *figureView
	Figure      string // what a figure is of its repeats
	Pivots      []pivotView
	Sweeps      []report.Section
	Notes       []report.Fact
	Figures     []figureView
	CellGrid    *report.Grid
	Folded      bool
	Cells       []cellView
	CellsNote   string
	Problems    []report.Section // and what only some cells have
	Facts       []report.Fact
	Spent       *figureView
	Sections    []report.Section
}

type progressView struct {
	Text      string
	Done, All int
}

// WritePage writes the HTML report of a run.
func WritePage(w io.Writer, run results.Run, records []results.Record, opts PageOptions) error {
	b := newBuilder(run, records, opts.CellAddress)
	p := page{
		Title: show.Line(fmt.Sprintf("%s, %s", run.Scenario, run.ID)), Heading: show.Line(run.Scenario),
		Under:  show.Line(fmt.Sprintf("run %s, started %s", run.ID, run.Started.UTC().Format("2 January 2006, 15:04 UTC"))),
		Status: runStatus(run, records), Banners: banners(run, records), Nav: opts.Nav, Follow: opts.Follow,
	}
	if opts.Follow != nil { // the page's first section says how far the run is
		p.Status = &status{"under way", "warn"}
	}
	if opts.Banner != "" {
		p.Banners = append(p.Banners, show.Line(opts.Banner))
	}
	return p.write(w, "run", b.view(records, opts.Changed))
}

func runStatus(run results.Run, records []results.Record) *status {
	counts := run.Count(records)
	s := statusOf(words.StandingOf(run, &counts))
	s.Text += " · " + words.Measured(&counts)
	return s
}

func statusOf(s words.Standing) *status {
	switch {
	case s.Bad:
		return &status{show.Line(s.String()), "bad"}
	case s.Good:
		return &status{show.Line(s.String()), "ok"}
	}
	return &status{show.Line(s.String()), "warn"}
}

// banners are the warnings above everything else.
func banners(run results.Run, records []results.Record) []string {
	if slices.ContainsFunc(records, func(r results.Record) bool { return r.GPU.Fake }) ||
		slices.ContainsFunc(run.GPUDevices, func(d gpu.Device) bool { return d.Fake }) {
		return []string{"FAKE GPU: these GPU figures come from the fake driver of the tests. They are no measurement of a GPU."}
	}
	return nil
}

func (b *builder) view(records []results.Record, changed *verdict.Comparison) runView {
	concluded := verdict.Conclude(b.summaries, b.run.Plan)
	b.choose(concluded)
	v := runView{Figure: words.Capital(report.FiguresText(b.summaries)), AnswerTitle: "The answer"}
	if b.run.Outcome == "" {
		counts := b.run.Count(records)
		v.Progress = &progressView{All: max(counts.Planned, 1), Done: counts.OK + counts.Bad(),
			Text: fmt.Sprintf("%d of %s measured, %d failed", counts.OK, show.Plural(counts.Planned, "planned cell"), counts.Failed)}
		if counts.Pruned > 0 {
			v.Progress.Text += fmt.Sprintf(", %d pruned", counts.Pruned)
		}
		v.Progress.Text += "."
		if b.run.Plan.Search != nil {
			v.Progress = &progressView{Text: fmt.Sprintf("A search: %s measured so far, %d failed.", show.Plural(counts.OK, "cell"), counts.Failed)}
		}
	}
	if s := report.CheckList(b.run.Checks); s != nil && len(s.Items) > 0 {
		v.Gate = s
	}
	v.Found = report.Held(report.Found(b.run, records, 0)...)
	if len(b.summaries) > 0 || len(v.Found) > 0 {
		b.answer(&v, records, changed)
	}
	switch {
	case len(v.Found) > 0:
	case len(b.summaries) == 0:
		v.Nothing = "No cell has been measured yet."
	default:
		concluded, alike := shortened(concluded)
		s := report.Conclusion(concluded, b.notes)
		if alike > 0 {
			s.Notes = append(s.Notes, show.Plural(alike, "cell")+" as good as one of these within some percent: the table of all cells has them.")
		}
		v.AnswerTitle = s.Title
		asked := b.run // a page has an answer, whether the scenario asks for one or not
		if asked.Plan.Recommend == nil && len(concluded.Members) > 0 {
			asked.Plan.Recommend = &goals.Recommend{Objective: results.MetricDuration}
		}
		v.Asked = report.Planned(asked, b.summaries, b.notes)
		v.Conclusion, v.AnswerNotes = s.Table, s.Notes
		for i, condition := range concluded.Conditions {
			s.Table.Rows[i][0].Link = b.href(condition.Summary)
		}
	}
	if d := b.tradeoff(); d != nil {
		f := newFigure(d.chart, d.caption, chart.Wide)
		v.Tradeoff = &f
	}
	for _, pivot := range verdict.Pivots(b.summaries) {
		for _, name := range []string{results.MetricDuration, results.PeakMetric(b.memory)} {
			v.Pivots = append(v.Pivots, b.newPivot(pivot, results.Metric(name)))
		}
	}
	v.Sweeps = report.Held(report.Sweeps(b.summaries, b.notes)...)
	for _, d := range b.drawings() {
		v.Figures = append(v.Figures, newFigure(d.chart, d.caption, halfPage))
	}
	b.cells(&v)
	legend := b.notes.Legend()
	for i, text := range legend {
		note := report.Fact{Text: text}
		if at := i - (len(legend) - len(b.notes.Texts)); at >= 0 {
			note.Label = b.notes.Letters[b.notes.Texts[at]]
		}
		v.Notes = append(v.Notes, note)
	}
	b.machine(&v, records)
	return v
}

// answer is what to deploy, without the commands: who is sent a page has no terminal.
func (b *builder) answer(v *runView, records []results.Record, changed *verdict.Comparison) {
	asking := b.run
	asking.Counts = new(b.run.Count(records))
	facts := report.SearchAnswer(asking, records, changed)
	if facts == nil {
		facts = report.Answer(asking, b.summaries, changed)
	}
	v.Answer = slices.DeleteFunc(facts, func(f report.Fact) bool { return f.Label == "Next" })
	var loads []scenarios.LoadSpec
	for _, s := range b.summaries {
		loads = append(loads, s.Load)
	}
	v.Loads = words.LoadsInWords(loads)
}

// mostConditions is from how many rows on the answer leaves out those that are
// as good as another one.
const mostConditions = 16

// shortened is a conclusion without the conditions that are like others, where
// there are many, and how many those are.
func shortened(c verdict.Conclusion) (verdict.Conclusion, int) {
	if len(c.Conditions) <= mostConditions {
		return c, 0
	}
	all := len(c.Conditions)
	c.Conditions = slices.DeleteFunc(slices.Clone(c.Conditions), func(row verdict.Condition) bool { return row.Alike && !row.Baseline })
	return c, all - len(c.Conditions)
}

// machine is what the page says about the run itself.
func (b *builder) machine(v *runView, records []results.Record) {
	v.Problems = report.Held(report.OpenLoops(records), report.Streams(records), report.Failures(verdict.Unmeasured(records)), report.Prunings(b.summaries),
		report.ErrorList(records), report.MissingCells(b.run, records), report.RepeatsMade(b.run, records))
	v.Facts = report.Heading(b.run, records, b.summaries, b.memory)
	for _, f := range []report.Fact{
		{Label: "scenario file", Text: b.run.File}, {Label: "stackmeter", Text: strings.TrimSpace(b.run.Host.Stackmeter + " " + b.run.Host.Go)}, {Label: "plan", Text: b.run.Fingerprint},
	} {
		if f.Text != "" {
			v.Facts = append(v.Facts, report.Fact{Label: f.Label, Text: show.Line(f.Text)})
		}
	}
	if c := spentChart(b.run); c != nil {
		f := newFigure(*c, "", halfPage)
		v.Spent = &f
	}
	for _, s := range report.Held(report.GPUPhases(records), report.Ran(records)) {
		s.Notes = slices.DeleteFunc(s.Notes, func(n string) bool { return strings.HasPrefix(n, "The proxies' configurations") })
		v.Sections = append(v.Sections, s)
	}
	v.Sections = append(v.Sections, configurations(records)...)
}

// configurations are those of proxies, each as a section of its own.
func configurations(records []results.Record) []report.Section {
	var sections []report.Section
	for i, item := range report.Configurations(records) {
		sections = append(sections, report.Section{ID: fmt.Sprintf("proxy-%d", i+1), Title: item.Name,
			Items: []report.Item{{Name: "Of", Text: item.Text, Log: item.Log}}})
	}
	return sections
}

// cells are the table of all cells and the details of those that were chosen.
func (b *builder) cells(v *runView) {
	v.CellGrid = b.cellGrid()
	for _, s := range b.summaries {
		if b.ids[s.Name()] != "" {
			v.Cells = append(v.Cells, b.newCell(s, b.byCell[s.Name()]))
		}
	}
	v.Folded = len(b.summaries) >= foldFrom
	if left := len(b.summaries) - len(v.Cells); left > 0 {
		v.CellsNote = fmt.Sprintf("%d of %d cells: those worth having first, then those with failures, errors or flags. The table has the figures of the other %d",
			len(v.Cells), len(b.summaries), left)
		if b.address != nil {
			v.CellsNote += ", and its links lead to their details."
		} else {
			v.CellsNote += "; `stackmeter serve` shows the details of any, and the format json holds all of them."
		}
	}
}

// cellGrid has a row for each cell.
func (b *builder) cellGrid() *report.Grid {
	g := &report.Grid{Labels: 1, Head: []string{"cell", "status", "duration", "throughput", "p50", "p99", words.PeakName(b.memory), "bound by", "flags"}}
	metric := func(s verdict.Summary, name string, u words.Unit) report.Entry {
		sample := s.Sample(results.Metric(name))
		decimals := u.Decimals([]*stats.Sample{sample})
		if sample != nil && name != results.MetricDuration {
			return report.Entry{Text: u.Number(sample.Median, decimals) + " " + u.Name} // the repeats have the rest
		}
		return report.Entry{Text: u.Text(sample, decimals)}
	}
	for _, s := range b.summaries {
		state := b.cellStatus(s)
		text := state.Text
		if state.Class == "warn" {
			text = "ok"
		}
		bound := words.Missing
		if report.Used(s) {
			bound = verdict.BoundOf(s, b.run.Plan, b.run.Host).By
		}
		e := report.Entry{Text: text}
		if state.Class == "bad" {
			e.Tone = report.Bad
		}
		g.Rows = append(g.Rows, []report.Entry{
			{Text: show.Line(s.Name()), Link: b.href(s)}, e, metric(s, results.MetricDuration, words.Seconds()), metric(s, results.MetricThroughput, words.UnitOf(units.PerSecond)),
			metric(s, "p50", words.Unit{Name: "ms", Scale: 1e-3, Fine: 1, Least: 1}), metric(s, results.MetricP99, words.Unit{Name: "ms", Scale: 1e-3, Fine: 1, Least: 1}),
			metric(s, results.PeakMetric(b.memory), words.Mebibytes()), {Text: bound}, {Text: b.ownFlags(s)},
		})
	}
	return g
}
