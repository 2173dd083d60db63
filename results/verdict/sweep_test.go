package verdict

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// of is a topology of two axes.
func of(name, batch, image string) scenarios.Topology {
	t := scenarios.Topology{Name: fmt.Sprintf("%s-batch%s-%s", name, batch, image), Server: "gunicorn", Workers: 1, Threads: 1, Image: image,
		Env: map[string]string{"BATCH": batch}, Axes: map[string]string{"env.BATCH": batch, "image": image}}
	if name != "" {
		t.Env["OF"] = name
	}
	return t
}

// texts are a sweep's rows: the topology, the ratios in percent, and where it is
// faster.
func (s Sweep) texts() []string {
	var texts []string
	for _, row := range s.Rows {
		text := row.Topology
		if row.First {
			texts = append(texts, text+" first")
			continue
		}
		for _, r := range row.Ratios {
			if r.Ratio == nil {
				text += " –"
			} else {
				text += fmt.Sprintf(" %.0f%%", 100**r.Ratio)
			}
		}
		if at := s.FasterAt(row); at != "" {
			text += " faster at " + at
		}
		texts = append(texts, text)
	}
	return texts
}

func TestSweeps(t *testing.T) {
	mt4, mt8 := pooled(scenarios.ClientMT, 4, 10), pooled(scenarios.ClientMT, 8, 10)
	open := scenarios.LoadSpec{Requests: 10, Client: scenarios.ClientOpen, Pool: 100, Rate: 5}
	at := func(topology scenarios.Topology, durations ...float64) (records []results.Record) {
		for i, load := range []scenarios.LoadSpec{single(10), mt4, mt8, open}[:len(durations)] {
			records = append(records, ok(topology, load, 1, durations[i], 100))
		}
		return records
	}
	broken := withErrors(ok(of("", "8", "a"), mt4, 1, 0.1, 100), 1)
	named, other := of("x", "4", "a"), of("y", "8", "a")
	command := scenarios.Topology{Name: "own-n1", Server: scenarios.ServerCommand, Command: []string{"one"}, Env: map[string]string{"N": "1"}, Axes: map[string]string{"env.N": "1"}}
	twin := command
	twin.Name, twin.Command = "other-n1", []string{"two"}
	for _, test := range []struct {
		name    string
		records []results.Record
		want    []string // the axes, and their rows
	}{
		{"none", at(flask(), 1, 1), nil},
		{"one value", at(of("", "1", "a"), 1, 1), nil},
		{"values in natural order", slices.Concat(at(of("", "16", "a"), 3, 2, 1, 9), at(of("", "2", "a"), 1, 1, 2, 1), at(of("", "8", "a"), 1.01, 0.9, 1)),
			[]string{"env.BATCH", "-batch2-a first", "-batch8-a 101% 90% 50% faster at mt4 and more", "-batch16-a 300% 200% 50% faster at mt8"}},
		{"decimals in their order", slices.Concat(at(of("", "0.5", "a"), 1), at(of("", "0.25", "a"), 1), at(of("", "10", "a"), 1)),
			[]string{"env.BATCH", "-batch0.25-a first", "-batch0.5-a 100%", "-batch10-a 100%"}},
		{"sizes in their order", slices.Concat(at(of("", "1GiB", "a"), 1), at(of("", "512MiB", "a"), 1), at(of("", "1.5GiB", "a"), 1)),
			[]string{"env.BATCH", "-batch512MiB-a first", "-batch1GiB-a 100%", "-batch1.5GiB-a 100%"}},
		{"times in their order", slices.Concat(at(of("", "1s", "a"), 1), at(of("", "500ms", "a"), 1)),
			[]string{"env.BATCH", "-batch500ms-a first", "-batch1s-a 100%"}},
		{"two axes", slices.Concat(at(of("", "1", "a"), 2), at(of("", "8", "a"), 1), at(of("", "1", "b"), 4), at(of("", "8", "b"), 4)),
			[]string{"env.BATCH", "-batch1-a first", "-batch8-a 50% faster at single", "-batch1-b first", "-batch8-b 100%",
				"image", "-batch1-a first", "-batch1-b 200%", "-batch8-a first", "-batch8-b 400%"}},
		{"what else differs is not compared", slices.Concat(at(named, 1), at(other, 2)), nil},
		{"nor topologies that cannot be told apart", slices.Concat(at(command, 1), at(twin, 2)), nil},
		{"a cell with errors, and one that is missing", slices.Concat(at(of("", "1", "a"), 1, 1, 1), []results.Record{broken}, at(of("", "8", "a"), 0.5)),
			[]string{"env.BATCH", "-batch1-a first", "-batch8-a 50% – – faster at single"}},
		{"better in the middle alone", slices.Concat(at(of("", "1", "a"), 1, 1, 1), at(of("", "8", "a"), 1, 0.5, 1)),
			[]string{"env.BATCH", "-batch1-a first", "-batch8-a 100% 50% 100% faster at mt4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, sweep := range Sweeps(Summarise(test.records)) {
				got = append(append(got, sweep.Axis), sweep.texts()...)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// TestSweepIsTested: with enough repeats, faster is what a test shows, however small
// it is, and nothing else.
func TestSweepIsTested(t *testing.T) {
	var records []results.Record
	for repeat := range 6 {
		noise := 0.001 * float64(repeat)
		for batch, duration := range map[string]float64{"1": 1, "4": 0.99, "8": 0.85 + 0.2*float64(repeat%2)} {
			records = append(records, ok(of("", batch, "a"), single(10), repeat+1, duration+noise, 100))
		}
	}
	sweeps := Sweeps(Summarise(records))
	if len(sweeps) != 1 {
		t.Fatalf("%+v", sweeps)
	}
	want := []string{"-batch1-a first", "-batch4-a 99% faster at single", "-batch8-a 94%"}
	if got := sweeps[0].texts(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
