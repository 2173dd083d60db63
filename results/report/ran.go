package report

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// Ran tells what was really started for each topology, as it was read back
// from the running services, and how long a stack took to answer.
func Ran(records []results.Record) *Section {
	s := Section{Title: "What ran", Table: &Grid{
		Labels: 1,
		Head:   []string{"topology", "workers", "threads", "start", "ready", "images"},
	}}
	// Most servers have neither classes nor event loops.
	kinds := slices.ContainsFunc(records, func(r results.Record) bool { return Kind(r.Stack) != "" })
	if kinds {
		s.Table.Head = slices.Insert(s.Table.Head, 3, "class")
	}
	notes := []string{"Workers and threads are read from the running processes; an image is named by the beginning of its digest."}
	for _, of := range byTopology(records) {
		name, back := show.Line(of[0].Topology.Name), readBack(of)
		for _, fact := range back.unread {
			notes = append(notes, name+show.Line(", not read back: "+fact)+".")
		}
		for _, fact := range back.inForce {
			notes = append(notes, name+show.Line(", in force beside the command line: "+fact)+".")
		}
		if back.start != nil {
			row := []string{name, strings.Join(back.workers, ", "), strings.Join(back.threads, ", ")}
			if kinds {
				row = append(row, cmp.Or(strings.Join(back.kinds, "; "), words.Missing))
			}
			s.Table.Rows = append(s.Table.Rows, texts(append(row,
				words.Seconds().Text(back.start, 2), words.Seconds().Text(back.ready, 2), strings.Join(back.images, ", "))...))
		}
	}
	if len(s.Table.Rows) == 0 {
		return nil
	}
	last := len(s.Table.Head) - 1
	if !slices.ContainsFunc(s.Table.Rows, func(row []Entry) bool { return row[last].Text != "" }) { // local processes have no images
		s.Table.Head, notes[0] = s.Table.Head[:last], "Workers and threads are read from the running processes."
		for i, row := range s.Table.Rows {
			s.Table.Rows[i] = row[:last]
		}
	}
	s.Notes = notes
	if len(Configurations(records)) > 0 {
		s.Notes = append(s.Notes, "The proxies' configurations as they were loaded are in the formats markdown and json.")
	}
	return &s
}

// byTopology groups records by the names of their topologies, which are sorted.
func byTopology(records []results.Record) [][]results.Record {
	name := func(r results.Record) string { return r.Topology.Name }
	groups := verdict.GroupBy(records, name)
	slices.SortFunc(groups, func(a, b []results.Record) int { return cmp.Compare(name(a[0]), name(b[0])) })
	return groups
}

// A backRead is what was read back from the stacks of one topology. Facts that
// differ between two of them are all listed.
type backRead struct {
	workers, threads, kinds, images, unread, inForce []string
	start, ready                                     *stats.Sample // seconds
}

func readBack(records []results.Record) backRead {
	var back backRead
	var start, ready []float64
	add := func(list *[]string, text string) {
		if text != "" && !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
	}
	counted := map[string]bool{} // the cells of a trial, and the rounds of a start, share a stack
	for _, r := range records {
		if r.Stack == nil || len(r.Stack.Services) == 0 {
			continue
		}
		add(&back.workers, Count(r.Stack.Workers))
		add(&back.threads, Count(r.Stack.Threads))
		add(&back.kinds, show.Line(Kind(r.Stack)))
		add(&back.unread, r.Stack.Unread)
		add(&back.inForce, strings.Join(r.Stack.InForce, ", "))
		for _, service := range r.Stack.Services {
			if service.Digest != "" {
				add(&back.images, show.Line(fmt.Sprintf("%s %s", service.Name, shortDigest(service.Digest))))
			}
		}
		key := fmt.Sprint(cmp.Or(r.Start, r.Cell.Repeat), r.Stack.Services[0].Container, r.Stack.Services[0].Processes)
		if !counted[key] {
			counted[key] = true
			start, ready = known(start, r.Stack.StartS), known(ready, r.Stack.ReadyS)
		}
	}
	back.start, back.ready = stats.NewSample(start), stats.NewSample(ready)
	return back
}

// Kind is the class of a stack's workers with its concurrency and their event loop, as far
// as they are known.
func Kind(s *results.Stack) string {
	if s == nil {
		return ""
	}
	var all []string
	for _, one := range []string{s.Class, s.Loop} {
		if one != "" {
			all = append(all, one)
		}
	}
	if s.Concurrency != nil {
		all = append(all, fmt.Sprintf("concurrency %d", *s.Concurrency))
	}
	return strings.Join(all, ", ")
}

// known appends a value that was measured.
func known(values []float64, value *float64) []float64 {
	if value == nil {
		return values
	}
	return append(values, *value)
}

// Count is a number that may not be known.
func Count(n *int) string {
	if n == nil {
		return words.Missing
	}
	return strconv.Itoa(*n)
}

// shortDigest is enough of a digest to tell two images apart.
func shortDigest(digest string) string {
	_, hex, found := strings.Cut(digest, ":")
	hex = cmp.Or(hex, digest)
	if !found || len(hex) <= 12 {
		return hex
	}
	return hex[:12]
}

// Configurations are those of proxies as they were loaded, each with the topologies that
// ran with it. The addresses of the stacks differ, so they are left out.
func Configurations(records []results.Record) []Item {
	byText := map[string][]string{}
	for _, r := range records {
		if r.Stack == nil || r.Stack.Proxy == "" {
			continue
		}
		text := WithoutUpstream(r.Stack.Proxy)
		if !slices.Contains(byText[text], r.Topology.Name) {
			byText[text] = append(byText[text], r.Topology.Name)
		}
	}
	var items []Item
	for _, text := range slices.Sorted(maps.Keys(byText)) {
		names := byText[text]
		slices.Sort(names)
		items = append(items, Item{
			Name: "A proxy's configuration, as loaded",
			Text: show.Line(strings.Join(names, ", ")),
			Log:  strings.Split(strings.TrimRight(show.Clean(text), "\n"), "\n"),
		})
	}
	return items
}

// WithoutUpstream replaces the addresses of upstreams: they are others for each stack.
func WithoutUpstream(config string) string {
	return ipv4.ReplaceAllStringFunc(config, func(address string) string {
		if strings.HasPrefix(address, "0.0.0.0:") { // where the proxy listens
			return address
		}
		return "ADDRESS" + address[strings.IndexByte(address, ':'):]
	})
}

var ipv4 = regexp.MustCompile(`\b([0-9]{1,3}\.){3}[0-9]{1,3}:[0-9]+\b`)

// GPUPhases shows, for the cell of each topology that needed the most GPU
// memory, where that memory came from: phase by phase, and process by process,
// so that "each worker holds a copy of its own" can be read off.
func GPUPhases(records []results.Record) *Section {
	s := Section{Title: "GPU memory by phase and process, of each topology's largest cell", Table: &Grid{
		Labels: 2,
		Head:   []string{"topology", "load", "idle", "start-up", "warm-up", "measured", "after", "removed", "stack", "processes", "others"},
	}}
	for _, of := range byTopology(records) {
		r := largest(of)
		if r == nil || r.GPU.Baseline == nil {
			continue // figures from elsewhere know the peak at most
		}
		u := r.GPU
		row := texts(show.Line(r.Topology.Name), r.Cell.Load.Name())
		for _, bytes := range []*int64{u.Baseline, u.Startup, u.Warmup, u.Peak, u.After, u.Teardown, u.Stack} {
			row = append(row, Entry{Text: WholeMiB(bytes)})
		}
		var each []string
		for _, p := range u.Processes {
			each = append(each, WholeMiB(p.Peak))
		}
		row = append(row, Entry{Text: cmp.Or(strings.Join(each, " + "), words.Missing)}, Entry{Text: WholeMiB(u.ForeignPeak)})
		s.Table.Rows = append(s.Table.Rows, row)
	}
	if len(s.Table.Rows) == 0 {
		return nil
	}
	s.Notes = []string{
		"MiB. Idle to removed are of the whole device, as nvidia-smi shows it; stack is the peak of the sum over the stack's processes, processes are each one's own peak, others are processes that are not the stack's.",
	}
	if sampling := samplingText(records); sampling != "" {
		s.Notes = append(s.Notes, sampling)
	}
	return &s
}

// largest is the record with the highest measured peak on the GPU.
func largest(records []results.Record) *results.Record {
	var most *results.Record
	for i, r := range records {
		if r.GPU.Peak != nil && (most == nil || *r.GPU.Peak > *most.GPU.Peak) {
			most = &records[i]
		}
	}
	return most
}

// samplingText says how finely the GPU was sampled, at its worst.
func samplingText(records []results.Record) string {
	var worst *results.Record
	for i, r := range records {
		if r.GPU.Peak != nil && (worst == nil || r.GPU.MaxGap > worst.GPU.MaxGap) {
			worst = &records[i]
		}
	}
	if worst == nil || worst.GPU.MaxGap == 0 {
		return ""
	}
	u := worst.GPU
	return fmt.Sprintf("Sampled every %v; the longest gap between two samples of any cell was %.1f ms (99th percentile there %.1f ms), so that a peak between them can have been missed.",
		u.Interval, u.MaxGap.Seconds()*1000, u.P99Gap.Seconds()*1000)
}

// WholeMiB is a number of bytes in whole MiB, as nvidia-smi prints it.
func WholeMiB(bytes *int64) string {
	if bytes == nil {
		return words.Missing
	}
	return fmt.Sprint((*bytes + words.MiB/2) / words.MiB)
}
