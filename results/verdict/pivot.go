package verdict

import (
	"cmp"
	"slices"
	"strconv"

	"stackmeter/scenarios"
)

// A Pivot lays summaries out in rows and columns. It has no formatting: a report
// decides which figure of a cell it prints.
type Pivot struct {
	Requests int      // of all cells; 0 if rows differ in it
	Topology string   // of all cells; "" if rows or columns differ in it
	Head     []string // what each label of a row is
	Columns  []string
	Rows     []Row

	Summaries []Summary // of all rows
}

// A Row is one row of a Pivot.
type Row struct {
	Labels []string   // one for each of Pivot.Head
	Cells  []*Summary // one for each of Pivot.Columns; nil where there is no such cell
}

// Pivots lays out summaries in the order of Summarise, in as few tables as
// possible:
//
//   - one pivot for each number of requests, with topologies down and loads
//     across, or the other way round if there are more loads than topologies,
//     so that a table grows down rather than across;
//   - or, if the matrix zips requests with pools (each number of requests has
//     one pool), one pivot for each topology, with numbers of requests down and
//     client modes across.
func Pivots(summaries []Summary) []Pivot {
	byRequests := GroupBy(summaries, func(s Summary) int { return s.Load.Requests })
	byTopology := GroupBy(summaries, Summary.topology)
	var pivots []Pivot
	if len(byTopology) < len(byRequests) && zipped(byRequests) {
		for _, group := range byTopology {
			pivots = append(pivots, requestsPivot(group))
		}
		return pivots
	}
	for _, group := range byRequests {
		pivots = append(pivots, loadPivot(group))
	}
	return pivots
}

func (s Summary) topology() string { return s.Topology.Name }

// byMode sorts summaries by their client modes.
func byMode(group []Summary) []Summary {
	return slices.SortedStableFunc(slices.Values(group), func(a, b Summary) int { return compareModes(a.Load, b.Load) })
}

// loadPivot lays out the cells of one number of requests.
func loadPivot(group []Summary) Pivot {
	mode := func(s Summary) string { return ModeName(s.Load) }
	topologies, modes := distinct(group, Summary.topology), distinct(byMode(group), mode)
	pivot := Pivot{Requests: group[0].Load.Requests, Summaries: group}
	if len(modes) > len(topologies) {
		pivot.Head, pivot.Columns = []string{"load"}, topologies
		pivot.fill(modes, group, mode, Summary.topology)
		return pivot
	}
	pivot.Head, pivot.Columns = []string{"topology"}, modes
	pivot.fill(topologies, group, Summary.topology, mode)
	return pivot
}

// requestsPivot lays out the cells of one topology whose loads are zipped.
func requestsPivot(group []Summary) Pivot {
	client := func(s Summary) string { return clientName(s.Load) }
	number := func(s Summary) string { return strconv.Itoa(s.Load.Requests) }
	pivot := Pivot{Topology: group[0].Topology.Name, Head: []string{"requests", "pool"}, Columns: distinct(byMode(group), client), Summaries: group}
	numbers := slices.SortedStableFunc(slices.Values(group), func(a, b Summary) int { return cmp.Compare(a.Load.Requests, b.Load.Requests) })
	pivot.fill(distinct(numbers, number), group, number, client)
	for i := range pivot.Rows {
		pool := 1
		for _, cell := range pivot.Rows[i].Cells {
			if cell != nil {
				pool = max(pool, cell.Load.Pool)
			}
		}
		pivot.Rows[i].Labels = append(pivot.Rows[i].Labels, strconv.Itoa(pool))
	}
	return pivot
}

// fill makes a row for each label and puts each summary into its row and
// column.
func (p *Pivot) fill(labels []string, group []Summary, row, column func(Summary) string) {
	for _, label := range labels {
		p.Rows = append(p.Rows, Row{Labels: []string{label}, Cells: make([]*Summary, len(p.Columns))})
	}
	for i := range group {
		p.Rows[slices.Index(labels, row(group[i]))].Cells[slices.Index(p.Columns, column(group[i]))] = &group[i]
	}
}

// zipped reports whether each number of requests has one pool, so that the two
// can share a row. A single client has no pool.
func zipped(byRequests [][]Summary) bool {
	for _, group := range byRequests {
		pool := 0
		for _, s := range group {
			if s.Load.Client == scenarios.ClientSingle {
				continue
			}
			if pool != 0 && s.Load.Pool != pool {
				return false
			}
			pool = s.Load.Pool
		}
	}
	return true
}

// clientName is a load's mode without its pool.
func clientName(load scenarios.LoadSpec) string {
	if load.KeepAlive {
		return load.Client + "/keepalive"
	}
	return load.Client
}

// GroupBy groups items by key, in the order in which the keys first appear. It copies
// each item once: there may be tens of thousands, of a kilobyte each.
func GroupBy[T any, K comparable](items []T, key func(T) K) [][]T {
	at := map[K]int{}
	of, sizes := make([]int, len(items)), []int(nil)
	for i, item := range items {
		k := key(item)
		group, known := at[k]
		if !known {
			group = len(sizes)
			at[k] = group
			sizes = append(sizes, 0)
		}
		of[i] = group
		sizes[group]++
	}
	all, groups := make([]T, len(items)), make([][]T, len(sizes))
	for group, size := range sizes {
		groups[group], all = all[:0:size], all[size:]
	}
	for i, item := range items {
		groups[of[i]] = append(groups[of[i]], item)
	}
	return groups
}

// distinct lists the keys of items in the order in which they first appear.
func distinct[T any, K comparable](items []T, key func(T) K) []K {
	var keys []K
	for _, group := range GroupBy(items, key) {
		keys = append(keys, key(group[0]))
	}
	return keys
}
