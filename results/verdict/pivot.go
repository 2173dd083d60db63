package verdict

import (
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
	byRequests := groupBy(summaries, func(s Summary) int { return s.Load.Requests })
	byTopology := groupBy(summaries, func(s Summary) string { return s.Topology.Name })
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

// loadPivot lays out the cells of one number of requests.
func loadPivot(group []Summary) Pivot {
	topologies := distinct(group, func(s Summary) string { return s.Topology.Name })
	loads := slices.Clone(group)
	slices.SortStableFunc(loads, func(a, b Summary) int { return compareModes(a.Load, b.Load) })
	modes := distinct(loads, func(s Summary) string { return modeName(s.Load) })

	pivot := Pivot{Requests: group[0].Load.Requests}
	if len(modes) > len(topologies) {
		pivot.Head, pivot.Columns = []string{"load"}, topologies
		pivot.fill(modes, group,
			func(s Summary) string { return modeName(s.Load) },
			func(s Summary) string { return s.Topology.Name })
		return pivot
	}
	pivot.Head, pivot.Columns = []string{"topology"}, modes
	pivot.fill(topologies, group,
		func(s Summary) string { return s.Topology.Name },
		func(s Summary) string { return modeName(s.Load) })
	return pivot
}

// requestsPivot lays out the cells of one topology whose loads are zipped.
func requestsPivot(group []Summary) Pivot {
	loads := slices.Clone(group)
	slices.SortStableFunc(loads, func(a, b Summary) int { return compareModes(a.Load, b.Load) })
	pivot := Pivot{
		Topology: group[0].Topology.Name,
		Head:     []string{"requests", "pool"},
		Columns:  distinct(loads, func(s Summary) string { return clientName(s.Load) }),
	}
	requests := distinct(group, func(s Summary) int { return s.Load.Requests })
	slices.Sort(requests)
	labels := make([]string, len(requests))
	for i, n := range requests {
		labels[i] = strconv.Itoa(n)
	}
	pivot.fill(labels, group,
		func(s Summary) string { return strconv.Itoa(s.Load.Requests) },
		func(s Summary) string { return clientName(s.Load) })
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
	rows, columns := indices(labels), indices(p.Columns)
	for _, label := range labels {
		p.Rows = append(p.Rows, Row{Labels: []string{label}, Cells: make([]*Summary, len(p.Columns))})
	}
	for i := range group {
		p.Rows[rows[row(group[i])]].Cells[columns[column(group[i])]] = &group[i]
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

// groupBy groups items by key, in the order in which the keys first appear.
func groupBy[T any, K comparable](items []T, key func(T) K) [][]T {
	at := map[K]int{}
	var groups [][]T
	for _, item := range items {
		k := key(item)
		i, known := at[k]
		if !known {
			i = len(groups)
			at[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], item)
	}
	return groups
}

// distinct lists the keys of items in the order in which they first appear.
func distinct[T any, K comparable](items []T, key func(T) K) []K {
	seen := map[K]bool{}
	var keys []K
	for _, item := range items {
		if k := key(item); !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	return keys
}

func indices(labels []string) map[string]int {
	at := make(map[string]int, len(labels))
	for i, label := range labels {
		at[label] = i
	}
	return at
}
