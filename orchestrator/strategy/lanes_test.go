package strategy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// sideBySide has lanes do one step after the other, with room for all stacks, and
// returns what each measured. The last lane goes after so many of its steps; 0: it does not.
func sideBySide(t *testing.T, s Strategy, lanes, goes int, stay bool) (measured []string, all map[string]int) {
	t.Helper()
	all, measured = map[string]int{}, make([]string, lanes)
	up := make([]map[string]bool, lanes)
	gone := make([]bool, lanes)
	for step, idle := 0, 0; idle < lanes; step++ {
		lane := step % lanes
		if lane == lanes-1 && goes > 0 && step/lanes >= goes {
			gone[lane] = true
		}
		if gone[lane] {
			idle++
			continue
		}
		if up[lane] == nil {
			up[lane] = map[string]bool{}
		}
		next, more := s.Next(Capacity{Lane: lane, Lanes: lanes, Gone: gone, Stacks: 1 - len(up[lane]),
			Up:   func(trial scenarios.Trial) bool { return up[lane][trial.Topology.Name] },
			Fits: func(...scenarios.Trial) bool { return stay }})
		if !more {
			idle++
			continue
		}
		idle = 0
		for _, trial := range next.Start {
			up[lane][trial.Topology.Name] = true
		}
		if m := next.Measure; m != nil {
			if !up[lane][m.Trial.Topology.Name] {
				t.Fatalf("%s has no stack on lane %d", m.Cell.Name, lane)
			}
			measured[lane] += fmt.Sprintf("%s%d ", m.Trial.Topology.Name, m.Cell.Repeat)
			all[fmt.Sprintf("%s#%d", m.Cell.Name, m.Cell.Repeat)]++
			s.Add(recordOf(*m, results.StatusOK))
		}
		for _, trial := range next.Stop {
			delete(up[lane], trial.Topology.Name)
		}
		if step > 1000 {
			t.Fatal("it does not end")
		}
	}
	return measured, all
}

// TestLanes: each cell is measured once, on one of the lanes, also if one of them goes.
func TestLanes(t *testing.T) {
	for _, test := range []struct {
		lines       string
		lanes, goes int
		want        []string
	}{
		{"repeats: 2\n", 2, 0, []string{"a1 a1 a2 a2", "b1 b1 b2 b2"}},
		{"repeats: 2\n", 2, 1, []string{"a1 a1 b1 a2 a2 b2 b2", "b1"}},
		{"fresh: run\nrepeats: 2\n", 2, 0, []string{"a1 a1 a2 a2", "b1 b1 b2 b2"}},
		{"fresh: run\nrepeats: 2\nstarts: 2\n", 2, 0, []string{"a1 a1 b2 b2", "b1 b1 a2 a2"}},
		{"fresh: run\nrepeats: 2\n", 2, 1, []string{"a1 a1 a2 a2 b1 b2 b2", "b1"}},
		{"fresh: run\n", 3, 0, []string{"a1 a1", "b1 b1", ""}},
	} {
		p := twoByTwo(t, test.lines)
		s, _ := New(p, nil)
		got, all := sideBySide(t, s, test.lanes, test.goes, p.Fresh == scenarios.FreshRun)
		for i := range got {
			got[i] = strings.TrimSpace(got[i])
		}
		if !slices.Equal(got, test.want) || len(all) != p.Cells() {
			t.Errorf("%q on %d lanes: %q, want %q; %d of %d cells", test.lines, test.lanes, got, test.want, len(all), p.Cells())
		}
		for cell, n := range all {
			if n != 1 {
				t.Errorf("%q: %s was measured %d times", test.lines, cell, n)
			}
		}
	}
}
