package verdict

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// A Sweep is what one axis changes at one number of requests: the duration of each
// topology's closed loops, beside those of the topology that has the axis' first
// value and is otherwise the same.
type Sweep struct {
	Axis     string // env.BATCH
	Requests int
	Columns  []string // client modes
	Rows     []SweepRow
}

// A SweepRow is one topology.
type SweepRow struct {
	Topology string
	Value    string     // of the axis
	First    bool       // the rows that follow are compared with it
	Cells    []*Summary // one for each column; nil where there is no such cell
	Ratios   []Relation // of durations, to the first row's; none where a cell is not clean
}

// Faster reports whether a row is faster than its first one in a column: by a test,
// or where there are too few repeats for one by more than AlikeShare.
func (r SweepRow) Faster(column int) bool {
	d := r.Ratios[column]
	return d.Ratio != nil && *d.Ratio < 1 && (d.Shown || !d.Able && *d.Ratio < 1-AlikeShare)
}

// FasterAt says in words where a row is faster: "single, mt8 and more". It is empty
// where it is nowhere.
func (s Sweep) FasterAt(row SweepRow) string {
	var at []string
	for first := 0; first < len(s.Columns); {
		end := first // of the columns of one client, from the smallest pool to the largest
		for end < len(s.Columns) && s.client(end) == s.client(first) {
			end++
		}
		more := end // from where on all are faster
		for more > first && row.Faster(more-1) {
			more--
		}
		for i := first; i < end; i++ {
			switch {
			case i == more && end-more > 1:
				at = append(at, s.Columns[i]+" and more")
			case i <= more && row.Faster(i):
				at = append(at, s.Columns[i])
			}
		}
		first = end
	}
	return strings.Join(at, ", ")
}

// client is the client mode of a column, without its pool.
func (s Sweep) client(column int) string {
	for _, row := range s.Rows {
		if cell := row.Cells[column]; cell != nil {
			return clientName(cell.Load)
		}
	}
	return ""
}

// Sweeps finds the axes of summaries in the order of Summarise, by number of
// requests and by name. The values of an axis are in the order of what they are, see orderOf.
func Sweeps(summaries []Summary) []Sweep {
	var sweeps []Sweep
	for _, group := range GroupBy(summaries, func(s Summary) int { return s.Load.Requests }) {
		closed := slices.DeleteFunc(slices.Clone(group), func(s Summary) bool { return s.Load.Client == scenarios.ClientOpen })
		axes := map[string]bool{}
		for _, s := range closed {
			for axis := range s.Topology.Axes {
				axes[axis] = true
			}
		}
		for _, axis := range slices.Sorted(maps.Keys(axes)) {
			if s := sweepOf(axis, closed); len(s.Rows) > 0 {
				sweeps = append(sweeps, s)
			}
		}
	}
	return sweeps
}

func sweepOf(axis string, group []Summary) Sweep {
	mode := func(s Summary) string { return ModeName(s.Load) }
	sweep := Sweep{Axis: axis, Columns: distinct(byMode(group), mode)}
	value := func(cells []Summary) string { return cells[0].Topology.Axes[axis] }
	topologies := GroupBy(group, Summary.topology)
	for _, alike := range GroupBy(topologies, func(cells []Summary) string { return withoutAxis(cells[0].Topology, axis) }) {
		if values := distinct(alike, value); len(values) < 2 || len(values) < len(alike) {
			continue
		}
		order := orderOf(distinct(alike, value))
		slices.SortStableFunc(alike, func(a, b []Summary) int { return order(value(a), value(b)) })
		first := len(sweep.Rows)
		for i, cells := range alike {
			row := SweepRow{Topology: cells[0].Topology.Name, Value: value(cells), First: i == 0, Cells: make([]*Summary, len(sweep.Columns))}
			for c := range cells {
				sweep.Requests = cells[c].Load.Requests
				row.Cells[slices.Index(sweep.Columns, mode(cells[c]))] = &cells[c]
			}
			sweep.Rows = append(sweep.Rows, row)
		}
		for i := range sweep.Rows[first:] {
			sweep.Rows[first+i].Ratios = ratios(sweep.Rows[first], sweep.Rows[first+i])
		}
	}
	return sweep
}

// orderOf is how the values of an axis follow one another: as the numbers, the sizes or
// the times that all of them are, or else as names do.
func orderOf(values []string) func(a, b string) int {
	for _, unit := range []units.Unit{units.None, units.Bytes, units.Seconds} {
		is := map[string]float64{}
		for _, value := range values {
			if number, err := units.Parse(value, unit); err == nil {
				is[value] = number
			}
		}
		if len(is) == len(values) {
			return func(a, b string) int { return cmp.Compare(is[a], is[b]) }
		}
	}
	return CompareNatural
}

func ratios(first, row SweepRow) []Relation {
	ratios := make([]Relation, len(row.Cells))
	for i, cell := range row.Cells {
		if base := first.Cells[i]; !row.First && base != nil && cell != nil && base.Clean() && cell.Clean() {
			ratios[i] = Beside(*base, *cell, results.Metric(results.MetricDuration))
		}
	}
	return ratios
}

// withoutAxis is what topologies have in common that differ in one axis alone.
// Those without the axis have nothing in common.
func withoutAxis(t scenarios.Topology, axis string) string {
	if _, has := t.Axes[axis]; !has {
		return "without " + t.Name
	}
	without := func(values map[string]string, name string) map[string]string {
		values = maps.Clone(values)
		delete(values, name)
		return values
	}
	t.Name, t.Axes = "", without(t.Axes, axis)
	switch key, name, _ := strings.Cut(axis, "."); key {
	case "image":
		t.Image = ""
	case "resources":
		t.CPUs, t.Memory, t.GPUProduct = 0, 0, ""
	case "env":
		t.Env = without(t.Env, name)
	case "options":
		t.ServerOptions = without(t.ServerOptions, name)
	case t.Proxy:
		if t.ProxySettings = without(t.ProxySettings, name); name == "" { // all of them are one value
			t.ProxySettings = nil
		}
	default:
		t.Settings = without(t.Settings, axis)
	}
	text, err := json.Marshal(t)
	if err != nil {
		panic(fmt.Sprintf("a topology of texts and numbers: %v", err)) // cannot happen
	}
	return string(text)
}
