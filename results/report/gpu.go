package report

import (
	"fmt"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios/show"
)

// gpuPhases shows, for the cell of each topology that needed the most GPU
// memory, where that memory came from: phase by phase, and process by process,
// so that "each worker holds a copy of its own" can be read off.
func gpuPhases(records []results.Record) *section {
	s := section{title: "GPU memory by phase and process, of each topology's largest cell", table: &grid{
		labels: 2,
		head:   []string{"topology", "load", "idle", "start-up", "warm-up", "measured", "after", "removed", "stack", "processes", "others"},
	}}
	for _, name := range topologiesOf(records) {
		r := largest(records, name)
		if r == nil || r.GPU.Baseline == nil {
			continue // figures from elsewhere know the peak at most
		}
		u := r.GPU
		row := []entry{{text: show.Line(name)}, {text: r.Cell.Load.Name()}}
		for _, bytes := range []*int64{u.Baseline, u.Startup, u.Warmup, u.Peak, u.After, u.Teardown, u.Stack} {
			row = append(row, entry{text: wholeMiB(bytes)})
		}
		var each []string
		for _, p := range u.Processes {
			each = append(each, wholeMiB(p.Peak))
		}
		row = append(row, entry{text: orMissing(strings.Join(each, " + "))}, entry{text: wholeMiB(u.ForeignPeak)})
		s.table.rows = append(s.table.rows, row)
	}
	if len(s.table.rows) == 0 {
		return nil
	}
	s.notes = []string{
		"MiB. Idle to removed are of the whole device, as nvidia-smi shows it; stack is the peak of the sum over the stack's processes, processes are each one's own peak, others are processes that are not the stack's.",
	}
	if sampling := samplingText(records); sampling != "" {
		s.notes = append(s.notes, sampling)
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

// wholeMiB is a number of bytes in whole MiB, as nvidia-smi prints it.
func wholeMiB(bytes *int64) string {
	if bytes == nil {
		return missing
	}
	return fmt.Sprint((*bytes + mib/2) / mib)
}

func orMissing(text string) string {
	if text == "" {
		return missing
	}
	return text
}
