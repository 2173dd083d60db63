package orchestrator

import (
	"context"
	"fmt"
	"slices"

	"stackmeter/results"
	"stackmeter/results/verdict"
)

// reuse enters records of other runs, and says which. made are the records of the run
// so far; it returns them with what was entered.
func (l *loop) reuse(ctx context.Context, made []results.Record) ([]results.Record, error) {
	done := map[results.Key]bool{}
	for _, r := range made {
		done[keyOf(r)] = r.Status == results.StatusOK
	}
	var wanted []results.Record
	for _, trial := range l.plan.Trials {
		for _, cell := range trial.Cells {
			one := results.Record{Run: l.id, Topology: trial.Topology, Cell: cell}
			one.Fingerprint = l.alike(one)
			if !done[keyOf(one)] {
				wanted = append(wanted, one)
			}
		}
	}
	leave := l.enter(boundRecord, "look for cells to reuse")
	found, err := l.Reuse(ctx, l.images, wanted)
	leave()
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		l.notify(Event{Kind: EventNote, Message: "nothing is reused: the store holds no cell of these images and this kind of machine that is recent enough"})
		return made, nil
	}
	for _, of := range verdict.GroupBy(found, func(r results.Record) string { return r.Run }) {
		l.notify(Event{Kind: EventNote, Message: saysReused(of)})
		for _, r := range of {
			r.Reused, r.Run, r.Lane = r.Run, l.id, 0
			r.Flags = append(slices.Clone(r.Flags), results.FlagReused)
			if err := l.write(ctx, r); err != nil {
				return nil, err
			}
		}
	}
	return l.made(ctx)
}

// cellsSaid is how many cells a message names.
const cellsSaid = 12

// saysReused says which records of one run are reused.
func saysReused(records []results.Record) string {
	cells := verdict.GroupBy(records, func(r results.Record) string { return r.Cell.Name })
	text := fmt.Sprintf("reused from run %s of %s, and not measured again:", records[0].Run, records[0].Started.UTC().Format("2006-01-02 15:04:05 UTC"))
	for i, repeats := range cells[:min(len(cells), cellsSaid)] {
		text += map[bool]string{true: " ", false: ", "}[i == 0] + repeats[0].Cell.Name
		if len(repeats) > 1 {
			text += fmt.Sprintf(" (%d repeats)", len(repeats))
		}
	}
	if more := len(cells) - cellsSaid; more > 0 {
		text += fmt.Sprintf(" and %d more cells", more)
	}
	return text
}
