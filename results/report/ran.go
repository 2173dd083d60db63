package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios/show"
)

// ran tells what was really started for each topology, as it was read back
// from the running services, and how long a stack took to answer.
func ran(records []results.Record) *section {
	s := section{title: "What ran", table: &grid{
		labels: 1,
		head:   []string{"topology", "workers", "threads", "start", "ready", "images"},
	}}
	for _, name := range topologiesOf(records) {
		back := readBack(records, name)
		if back.start == nil {
			continue
		}
		row := []entry{{text: show.Line(name)}}
		for _, text := range []string{
			strings.Join(back.workers, ", "), strings.Join(back.threads, ", "),
			seconds().text(back.start, 2), seconds().text(back.ready, 2), strings.Join(back.images, ", "),
		} {
			row = append(row, entry{text: text})
		}
		s.table.rows = append(s.table.rows, row)
	}
	if len(s.table.rows) == 0 {
		return nil
	}
	s.notes = []string{"Workers and threads are read from the running processes; an image is named by the beginning of its digest."}
	if len(configurations(records)) > 0 {
		s.notes = append(s.notes, "nginx's configuration as it was loaded is in the formats markdown and json.")
	}
	return &s
}

// topologiesOf lists the names of the records' topologies, sorted.
func topologiesOf(records []results.Record) []string {
	seen := map[string]bool{}
	for _, r := range records {
		seen[r.Topology.Name] = true
	}
	return sortedKeys(seen)
}

// A backRead is what was read back from the stacks of one topology. Facts that
// differ between two of them are all listed.
type backRead struct {
	workers, threads, images []string
	start, ready             *stats.Sample // seconds
}

func readBack(records []results.Record, topology string) backRead {
	var back backRead
	var start, ready []float64
	add := func(list *[]string, text string) {
		if text != "" && !slices.Contains(*list, text) {
			*list = append(*list, text)
		}
	}
	counted := map[string]bool{} // the cells of a trial share a stack
	for _, r := range records {
		if r.Topology.Name != topology || r.Stack == nil || len(r.Stack.Services) == 0 {
			continue
		}
		add(&back.workers, count(r.Stack.Workers))
		add(&back.threads, count(r.Stack.Threads))
		for _, service := range r.Stack.Services {
			if service.Digest != "" {
				add(&back.images, show.Line(fmt.Sprintf("%s %s", service.Name, shortDigest(service.Digest))))
			}
		}
		key := fmt.Sprint(r.Cell.Repeat, r.Stack.Services[0].Container, r.Stack.Services[0].Processes)
		if !counted[key] {
			counted[key] = true
			start, ready = known(start, r.Stack.StartS), known(ready, r.Stack.ReadyS)
		}
	}
	back.start, back.ready = stats.NewSample(start), stats.NewSample(ready)
	return back
}

// known appends a value that was measured.
func known(values []float64, value *float64) []float64 {
	if value == nil {
		return values
	}
	return append(values, *value)
}

// count is a number that may not be known.
func count(n *int) string {
	if n == nil {
		return missing
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

// configurations are nginx's as it was loaded, each with the topologies that
// ran with it. The addresses of the stacks differ, so they are left out.
func configurations(records []results.Record) []item {
	byText := map[string][]string{}
	for _, r := range records {
		if r.Stack == nil || r.Stack.Nginx == "" {
			continue
		}
		text := withoutUpstream(r.Stack.Nginx)
		if !slices.Contains(byText[text], r.Topology.Name) {
			byText[text] = append(byText[text], r.Topology.Name)
		}
	}
	var items []item
	for _, text := range sortedKeys(byText) {
		names := byText[text]
		slices.Sort(names)
		items = append(items, item{
			name: "nginx's configuration, as loaded",
			text: show.Line(strings.Join(names, ", ")),
			log:  strings.Split(strings.TrimRight(show.Clean(text), "\n"), "\n"),
		})
	}
	return items
}

// withoutUpstream replaces the address after "server" in an upstream block: it
// is another one for each stack.
func withoutUpstream(config string) string {
	lines := strings.Split(config, "\n")
	for i, line := range lines {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "server" && strings.Contains(fields[1], ":") {
			lines[i] = strings.Replace(line, fields[1], "ADDRESS:"+fields[1][strings.LastIndexByte(fields[1], ':')+1:], 1)
		}
	}
	return strings.Join(lines, "\n")
}
