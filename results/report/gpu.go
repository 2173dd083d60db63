package report

import (
	"fmt"
	"strings"

	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// GPUPhases shows, for the cell of each topology that needed the most GPU
// memory, where that memory came from: phase by phase, and process by process,
// so that "each worker holds a copy of its own" can be read off.
func GPUPhases(records []results.Record) *Section {
	s := Section{Title: "GPU memory by phase and process, of each topology's largest cell", Table: &Grid{
		Labels: 2,
		Head:   []string{"topology", "load", "idle", "start-up", "warm-up", "measured", "after", "removed", "stack", "processes", "others"},
	}}
	for _, name := range topologiesOf(records) {
		r := largest(records, name)
		if r == nil || r.GPU.Baseline == nil {
			continue // figures from elsewhere know the peak at most
		}
		u := r.GPU
		row := []Entry{{Text: show.Line(name)}, {Text: r.Cell.Load.Name()}}
		for _, bytes := range []*int64{u.Baseline, u.Startup, u.Warmup, u.Peak, u.After, u.Teardown, u.Stack} {
			row = append(row, Entry{Text: WholeMiB(bytes)})
		}
		var each []string
		for _, p := range u.Processes {
			each = append(each, WholeMiB(p.Peak))
		}
		row = append(row, Entry{Text: orMissing(strings.Join(each, " + "))}, Entry{Text: WholeMiB(u.ForeignPeak)})
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

// largest is the topology's record with the highest measured peak on the GPU.
func largest(records []results.Record, topology string) *results.Record {
	var most *results.Record
	for i, r := range records {
		if r.Topology.Name == topology && r.GPU.Peak != nil && (most == nil || *r.GPU.Peak > *most.GPU.Peak) {
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

func orMissing(text string) string {
	if text == "" {
		return words.Missing
	}
	return text
}
