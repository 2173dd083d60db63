package strategy

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stackmeter/scenarios"
)

// recorded reads matrices that were measured. See testdata/README.md for where they are
// from.
func recorded(t testing.TB, file string) []matrix {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var all []matrix
	for _, row := range rows[1:] {
		name, topology, client := row[0], row[1], row[2]
		numbers := make([]float64, 4) // pool, requests, seconds, MiB
		for i := range numbers {
			numbers[i], _ = strconv.ParseFloat(row[3+i], 64)
		}
		at := slices.IndexFunc(all, func(m matrix) bool { return m.name == name })
		if at < 0 {
			at, all = len(all), append(all, matrix{name: name})
		}
		all[at].enter(topology, scenarios.LoadSpec{Client: client, Pool: int(numbers[0]), Requests: int(numbers[1])}, numbers[2], numbers[3]*(1<<20))
	}
	return all
}

// enter adds a cell, in a file that has those of a topology one after the other.
func (m *matrix) enter(topology string, load scenarios.LoadSpec, seconds, memory float64) {
	if n := len(m.topologies); n == 0 || m.topologies[n-1].Name != topology {
		t := scenarios.Topology{Name: topology, Server: "gunicorn", Workers: 1, Threads: 1}
		_, _ = fmt.Sscanf(topology[strings.LastIndex(topology, "-w")+1:], "w%d-t%d", &t.Workers, &t.Threads)
		if strings.HasPrefix(topology, "nginx+") {
			t.Proxy = "nginx"
		}
		m.topologies, m.start = append(m.topologies, t), append(m.start, 10)
		m.seconds, m.memory = append(m.seconds, nil), append(m.memory, nil)
	}
	if !slices.Contains(m.loads, load) {
		m.loads = append(m.loads, load)
	}
	last := len(m.topologies) - 1
	m.seconds[last], m.memory[last] = append(m.seconds[last], seconds), append(m.memory[last], memory)
}

// A rival looks for the best topology of each load within a time, by whole cells, and
// returns the topology that it found for each; -1: none.
type rival func(m *machine, limit float64) []int

// tried are the durations that a rival has seen.
type tried struct {
	*machine
	limit float64
	seen  [][][]float64 // by topology and load
}

func newTried(m *machine, limit float64) *tried {
	t := &tried{machine: m, limit: limit}
	for range m.topologies {
		t.seen = append(t.seen, make([][]float64, len(m.loads)))
	}
	return t
}

// try measures the whole load, and starts the stack if it is not up. It reports whether
// there was time.
func (t *tried) try(topology, load int) bool {
	name := t.topologies[topology].Name
	if !t.up[name] {
		t.up[name] = true
		t.clock += t.start[topology] / simBeside // as well as stacks that start beside each other
	}
	seconds := t.measure(topology, load, t.loads[load].Requests)
	if !t.fits(topology, load) {
		seconds = math.Inf(1) // that is known as soon as it is measured
	}
	t.seen[topology][load] = append(t.seen[topology][load], seconds)
	return t.clock < t.limit
}

func (t *tried) mean(topology, load int) float64 {
	sum := 0.0
	for _, s := range t.seen[topology][load] {
		sum += s
	}
	if len(t.seen[topology][load]) == 0 {
		return math.Inf(1)
	}
	return sum / float64(len(t.seen[topology][load]))
}

// answers are the topologies with the least mean.
func (t *tried) answers() []int {
	var best []int
	for load := range t.loads {
		at, least := -1, math.Inf(1)
		for i := range t.topologies {
			if mean := t.mean(i, load); mean < least {
				at, least = i, mean
			}
		}
		best = append(best, at)
	}
	return best
}

// randomSearch measures cells by chance, none twice before all were measured.
func randomSearch(m *machine, limit float64) []int {
	t := newTried(m, limit)
	for {
		for _, cell := range m.random.Perm(len(m.topologies) * len(m.loads)) {
			if !t.try(cell/len(m.loads), cell%len(m.loads)) {
				return t.answers()
			}
		}
	}
}

// halving measures all candidates of each load once, then twice as often the better half,
// until one is left: successive halving, see Jamieson and Talwalkar, Non-stochastic Best
// Arm Identification and Hyperparameter Optimization (2016). Its first round takes as many
// candidates, by chance, as there is time for.
func halving(m *machine, limit float64) []int {
	t := newTried(m, limit)
	left := make([][]int, len(m.loads))
	mean := m.exhaustive() / 6 / float64(len(m.topologies)*len(m.loads))
	rounds := math.Ceil(math.Log2(float64(len(m.topologies))))
	most := max(2, min(len(m.topologies), int(limit/mean/float64(len(m.loads))/rounds)))
	for load := range left {
		left[load] = m.random.Perm(len(m.topologies))[:most]
	}
	for repeats := 1; ; repeats *= 2 {
		for load := range left {
			for _, topology := range left[load] {
				for range repeats {
					if !t.try(topology, load) {
						return t.answers()
					}
				}
			}
			slices.SortFunc(left[load], func(a, b int) int { return cmpFloat(t.mean(a, load), t.mean(b, load)) })
			left[load] = left[load][:(len(left[load])+1)/2]
		}
		if most = (most + 1) / 2; most <= 1 {
			return t.answers()
		}
	}
}

func cmpFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// climbing is the quick search of NVIDIA's Model Analyzer, as its documentation describes
// it: it starts at the smallest, measures the neighbours within a radius of 3, goes to the
// best of them, and ends where none is better. Coordinates are the numbers of workers and
// threads by their order, and the proxy.
func climbing(m *machine, limit float64) []int {
	t := newTried(m, limit)
	const radius = 3
	coordinates := m.coordinates()
	smallest := 0
	for i, c := range coordinates {
		if c[0]+c[1]+c[2] < coordinates[smallest][0]+coordinates[smallest][1]+coordinates[smallest][2] {
			smallest = i
		}
	}
	for load := range m.loads {
		at := smallest
		if !t.try(at, load) {
			return t.answers()
		}
		for {
			best := at
			for i := range coordinates {
				distance := 0.0
				for d := range coordinates[i] {
					distance += math.Pow(float64(coordinates[i][d]-coordinates[at][d]), 2)
				}
				if i == at || distance > radius*radius || len(t.seen[i][load]) > 0 {
					continue
				}
				if !t.try(i, load) {
					return t.answers()
				}
				if t.mean(i, load) < t.mean(best, load) {
					best = i
				}
			}
			if best == at {
				break
			}
			at = best
		}
	}
	return t.answers()
}

// coordinates are where the topologies lie: by workers, threads and proxy.
func (m matrix) coordinates() [][3]int {
	place := func(of func(scenarios.Topology) int) map[int]int {
		var values []int
		for _, t := range m.topologies {
			values = append(values, of(t))
		}
		slices.Sort(values)
		places := map[int]int{}
		for i, v := range slices.Compact(values) {
			places[v] = i
		}
		return places
	}
	workers, threads := func(t scenarios.Topology) int { return t.Workers }, func(t scenarios.Topology) int { return t.Threads }
	byWorkers, byThreads := place(workers), place(threads)
	var all [][3]int
	for _, t := range m.topologies {
		proxy := 0
		if t.Proxy != "" {
			proxy = 1
		}
		all = append(all, [3]int{byWorkers[t.Workers], byThreads[t.Threads], proxy})
	}
	return all
}

// right is the share of loads for which the topology is within 2% of the best.
func (m matrix) right(answers []int) (right int) {
	for load, at := range answers {
		if at >= 0 && m.fits(at, load) && m.seconds[at][load] <= 1.02*m.best(load) {
			right++
		}
	}
	return right
}

// BenchmarkSearch prints how often each way finds what is within 2% of the best, in the
// same time. -benchtime=1000x makes as many races of each matrix: one of 720 cells takes a
// second, one of up to 48 some 20 ms. The manual has what was measured.
func BenchmarkSearch(b *testing.B) {
	matrices := append(recorded(b, "testdata/published.csv"), recorded(b, "testdata/h200.csv")...)
	for _, size := range [][2]int{{8, 6}, {40, 10}, {36, 20}} {
		matrices = append(matrices, generated(size[0], size[1], 0))
	}
	for _, m := range matrices {
		cells := len(m.topologies) * len(m.loads)
		share := 0.25
		if cells > 100 {
			share = 0.10
		}
		if cells > 400 {
			share = 0.05
		}
		for _, noise := range []float64{0.02, 0.10} {
			b.Run(fmt.Sprintf("%s/%d cells/noise %g", m.name, cells, noise), func(b *testing.B) {
				var s score
				rivals, found := []rival{randomSearch, halving, climbing}, make([]int, 3)
				for seed := range uint64(b.N) {
					one := m
					if strings.HasPrefix(m.name, "generated") {
						one = generated(len(m.topologies), len(m.loads), seed)
					}
					limit := share * one.exhaustive()
					on := newMachine(one, noise, seed)
					contests := on.search(b, one.plan(limit, seed))
					s.add(one, contests, on.clock)
					for i, rival := range rivals {
						found[i] += one.right(rival(newMachine(one, noise, seed), limit))
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(100*float64(s.right)/float64(s.answers), "%right")
				b.ReportMetric(100*s.time/float64(s.races), "%time")
				b.ReportMetric(100*float64(s.sure)/float64(s.answers), "%sure")
				b.ReportMetric(100*float64(s.wrong)/float64(max(1, s.sure)), "%wrong-of-sure")
				for i, name := range []string{"random", "halving", "climbing"} {
					b.ReportMetric(100*float64(found[i])/float64(s.answers), "%"+name)
				}
			})
		}
	}
}
