package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/wire"
)

// WriteLoad prints one record in full, for people to read in a terminal: what a
// load client that was used alone sent and got. Its words are those of a run's
// tables; its JSON form is a run's with this one cell.
func WriteLoad(w io.Writer, run results.Run, r results.Record, opts Options) error {
	run.Counts = new(run.Count([]results.Record{r}))
	standing := words.StandingOf(run, run.Counts)
	doc := Document{Title: show.Line(run.Plan.Request.Method + " " + r.Topology.Name), Tone: toneOf(standing)}
	for _, f := range []Fact{
		{"verdict", standing.String()},
		{"load", loadText(r.Cell.Load)},
		{"request", requestText(run.Plan.Request)},
		{"client", clientText(run, r)},
		{"status", statusText(r)},
	} {
		doc.Facts = append(doc.Facts, Fact{f.Label, show.Line(f.Text)})
	}
	doc.Facts = append(doc.Facts, outcome(r)...)
	var notes []string
	for _, flag := range r.AllFlags() {
		notes = append(notes, show.Line(words.WithMeaning(flag)))
	}
	doc.Sections = Held(latencies(r), distribution(r.Latency), probes(r.Load.Search), errorKinds(r), CheckList(run.Checks), &Section{Title: "Notes", Notes: notes})
	return writeTerminal(w, doc, opts)
}

// loadText says in words what was sent how.
func loadText(l scenarios.LoadSpec) string {
	text := show.Plural(l.Requests, "request") + ", "
	switch {
	case l.Client == scenarios.ClientSingle:
		text += "one after the other"
	case l.Client == scenarios.ClientMT:
		text += show.Plural(l.Pool, "client") + " in threads of one process"
	case l.Client == scenarios.ClientMP:
		text += show.Plural(l.Pool, "client") + ", each a process"
	case l.Searches():
		text += fmt.Sprintf("at the highest rate whose 99th percentile of latency is within %v, %s arrivals", l.P99, l.Arrivals)
	case l.Rate > 0:
		text += fmt.Sprintf("at %s/s, %s arrivals", words.Plainly(l.Rate), l.Arrivals)
	default:
		text += fmt.Sprintf("as fast as %d at once can be sent", l.Pool)
	}
	if l.KeepAlive {
		return text + "; connections are kept"
	}
	return text + "; a new connection for each"
}

// requestText says what a request carries and what is expected of its answer.
func requestText(r wire.Request) string {
	var parts []string
	payload := func(files []string, generate *wire.Generate) string {
		text := ""
		switch {
		case generate != nil:
			text = fmt.Sprintf("%d generated JPEGs of %dx%d", generate.Count, generate.Width, generate.Height)
		case len(files) == 1:
			text = filepath.Base(files[0])
		default:
			text = show.Plural(len(files), "file")
		}
		switch {
		case r.Pick == wire.PickRandom:
			text += ", drawn by seed"
		case generate != nil || len(files) > 1:
			text += ", in turn"
		}
		return text
	}
	switch {
	case r.Multipart != nil:
		parts = append(parts, payload(r.Multipart.Files, r.Multipart.Generate)+", as the form's field "+r.Multipart.Field)
	case r.Body != nil:
		parts = append(parts, payload(r.Body.Files, r.Body.Generate)+", as the body")
	case len(r.JSON) > 0:
		parts = append(parts, "JSON of "+words.Size(float64(len(r.JSON))))
	default:
		parts = append(parts, "no body")
	}
	parts = append(parts, "expects "+r.Expected(), fmt.Sprintf("time-out %v", r.Timeout))
	return strings.Join(parts, "; ")
}

// clientText says what the client itself took.
func clientText(run results.Run, r results.Record) string {
	parts := []string{run.Plan.Client.Engine}
	if cpu := r.CPU.Client; cpu != nil {
		text := fmt.Sprintf("%s of CPU", words.InWords(*cpu))
		if finished := r.Replies + r.Errors; finished > 0 {
			text += fmt.Sprintf(", %s per request", words.InWords(*cpu/float64(finished)))
		}
		if r.Duration != nil && *r.Duration > 0 {
			text += fmt.Sprintf(", %.1f%% of one core", 100**cpu / *r.Duration)
		}
		parts = append(parts, text)
	}
	if r.Load.Little != nil {
		parts = append(parts, fmt.Sprintf("Little's law %.3f", *r.Load.Little))
	}
	if r.Load.LongPause > 0 {
		parts = append(parts, fmt.Sprintf("longest garbage collection %s", words.InWords(r.Load.LongPause)))
	}
	if len(r.Load.Cores) > 0 {
		parts = append(parts, "cores "+units.FormatCpuset(r.Load.Cores))
	}
	return strings.Join(parts, "; ")
}

func statusText(r results.Record) string {
	switch {
	case r.Status != results.StatusOK:
		return r.Status + ": " + r.Reason
	case r.Errors > 0:
		return fmt.Sprintf("%s, with errors: %d of %s not as expected", r.Status, r.Errors, show.Plural(r.Errors+r.Replies, "answer"))
	}
	return fmt.Sprintf("%s, all of %s as expected", r.Status, show.Plural(r.Replies, "answer"))
}

// outcome are the figures that people look for first.
func outcome(r results.Record) []Fact {
	var facts []Fact
	add := func(label, text string) { facts = append(facts, Fact{label, text}) }
	if r.Duration != nil {
		add("duration", words.InWords(*r.Duration)+" from the starting gun to the last reply")
	}
	if rate := r.Throughput(); rate != nil {
		text := words.Digits(*rate) + " good replies per second"
		if found := r.Load.Search; found != nil && found.Rate > 0 {
			text += fmt.Sprintf(", at the rate of %s/s that was found", words.Plainly(found.Rate))
		}
		add("throughput", text)
	}
	if r.Load.BytesSent > 0 || r.Load.BytesRead > 0 {
		per := func(bytes int64) string {
			text := words.Size(float64(bytes))
			if r.Duration != nil && *r.Duration > 0 {
				text += fmt.Sprintf(" (%s/s)", words.Size(float64(bytes) / *r.Duration))
			}
			return text
		}
		add("transfer", "sent "+per(r.Load.BytesSent)+", read "+per(r.Load.BytesRead))
	}
	if events := r.Load.Events; events != nil {
		text := show.Plural(int(*events), "event")
		if r.Duration != nil && *r.Duration > 0 {
			text += fmt.Sprintf(", %s per second", words.Digits(float64(*events) / *r.Duration))
		}
		add("stream", text)
	}
	if r.Load.Retries > 0 {
		add("retries", fmt.Sprintf("%d, because the server had closed a kept connection", r.Load.Retries))
	}
	if l := r.Load.Lateness; l != nil {
		add("schedule", fmt.Sprintf("%d of %d sent more than 1 ms late; at most %d under way at once", r.Load.Late, r.Replies+r.Errors, r.Load.InFlight))
	}
	return facts
}

// latencies are the distributions that a client measured, of good replies.
func latencies(r results.Record) *Section {
	if r.Latency == nil || r.Latency.Count() == 0 {
		return nil
	}
	percentiles := []float64{50, 90, 95, 99, 99.9}
	g := &Grid{Labels: 1, Head: []string{"", "min", "mean"}}
	for _, p := range percentiles {
		g.Head = append(g.Head, "p"+words.Plainly(p))
	}
	g.Head = append(g.Head, "max")
	row := []Entry{{Text: "latency"}, {Text: words.InWords(r.Latency.Min().Seconds())}, {Text: words.InWords(r.Latency.Mean().Seconds())}}
	for _, p := range percentiles {
		row = append(row, Entry{Text: words.InWords(r.Latency.Percentile(p).Seconds())})
	}
	g.Rows = append(g.Rows, append(row, Entry{Text: words.InWords(r.Latency.Max().Seconds())}))
	for _, of := range []struct {
		name   string
		spread *results.Spread
	}{
		{"from the sending", r.Load.Service},
		{"sent late by", r.Load.Lateness},
		{"connecting", r.Load.Connect},
		{"to the first byte", r.Load.FirstByte},
		{"to the first event", r.Load.FirstEvent},
		{"between events", r.Load.EventGap},
		{"read later by", r.Load.Pickup},
	} {
		if of.spread != nil {
			g.Rows = append(g.Rows, []Entry{{Text: of.name}, {}, {}, {Text: words.InWords(of.spread.P50)}, {}, {},
				{Text: words.InWords(of.spread.P99)}, {}, {Text: words.InWords(of.spread.Max)}})
		}
	}
	s := &Section{Title: "Latency", Table: g}
	if r.Load.Pickup != nil {
		s.Notes = append(s.Notes, "Latency ends when the answer's last byte had reached this machine, by the kernel's stamp; the client read it later, by so much.")
	}
	if r.Load.Service != nil {
		s.Notes = append(s.Notes, "Latency counts from the moment at which the schedule had a request, not from when it could be sent.")
	}
	return s
}

// Bars of a distribution: how many there are, and how long the longest is in
// columns.
const (
	distributionBars  = 10
	distributionWidth = 40
)

// distribution shows where the latencies lie, as bars.
func distribution(l *load.Latency) *Section {
	if l == nil || l.Count() < 2 || l.Min() == l.Max() {
		return nil
	}
	g := &Grid{Labels: 1, Head: []string{"up to", "replies", "", ""}}
	bins := l.Bins(distributionBars)
	most := slices.MaxFunc(bins, func(a, b load.Bin) int { return cmp.Compare(a.Count, b.Count) }).Count
	for _, b := range bins {
		bar := strings.Repeat("■", int((b.Count*distributionWidth+most-1)/most))
		g.Rows = append(g.Rows, []Entry{
			{Text: words.InWords(b.To.Seconds())}, {Text: fmt.Sprint(b.Count)},
			{Text: fmt.Sprintf("%.1f%%", 100*float64(b.Count)/float64(l.Count()))}, {Text: pad(bar, distributionWidth, false)},
		})
	}
	return &Section{Title: "Distribution of the latency", Table: g}
}

// errorKinds are the errors of one record.
func errorKinds(r results.Record) *Section {
	if r.Errors == 0 {
		return nil
	}
	s := &Section{Title: "Errors among the answers", Table: &Grid{Labels: 1, Head: []string{"kind", "errors"}}}
	for _, kind := range slices.Sorted(maps.Keys(r.ErrorKinds)) {
		s.Table.Rows = append(s.Table.Rows, []Entry{{Text: show.Line(kind)}, {Text: fmt.Sprint(r.ErrorKinds[kind]), Tone: Bad}})
		if first := r.FirstErrors[kind]; first != "" {
			s.Items = append(s.Items, Item{Name: show.Line("the first " + kind), Text: show.Line(first)})
		}
	}
	return s
}

// probes are the rates that a search tried.
func probes(search *load.Search) *Section {
	if search == nil {
		return nil
	}
	s := &Section{Title: "The search for the rate", Table: &Grid{Labels: 1, Head: []string{"rate", "answered", "p99", "errors", "sent late", "holds"}}}
	tried := slices.Clone(search.Probes)
	slices.SortStableFunc(tried, func(a, b load.Probe) int { return int(1000*a.Rate) - int(1000*b.Rate) })
	for _, p := range tried {
		answered, p99, holds := words.Missing, words.Missing, "no"
		if p.P99 > 0 {
			answered, p99 = words.Digits(p.Achieved)+"/s", words.InWords(p.P99.Seconds())
		}
		if p.Holds {
			holds = "yes"
		}
		s.Table.Rows = append(s.Table.Rows, []Entry{{Text: words.Plainly(p.Rate) + "/s"}, {Text: answered}, {Text: p99},
			{Text: fmt.Sprint(p.Errors)}, {Text: fmt.Sprintf("%.0f%%", 100*p.Late)}, {Text: holds}})
	}
	found := fmt.Sprintf("The highest rate within %v is %s/s.", search.P99, words.Plainly(search.Rate))
	if search.Rate == 0 {
		found = fmt.Sprintf("None of the rates stayed within %v; the figures are those of the lowest one.", search.P99)
	}
	s.Notes = []string{found}
	if lowest, client := search.Bound(); len(client) > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("At %s/s it was the client that did not keep up (%s): the stack may hold more.",
			words.Plainly(lowest.Rate), strings.Join(client, ", ")))
	}
	return s
}
