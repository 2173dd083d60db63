package report

import (
	"fmt"
	"slices"

	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// Streams tell how the events came of the cells whose answers stream.
func Streams(records []results.Record) *Section {
	s := &Section{Title: "Streams", Table: &Grid{
		Labels: 1,
		Head:   []string{"cell", "events", "first byte", "first event", "p99", "between events", "p99", "max"},
	}, Notes: []string{"The first byte and the first event count from the sending; without p99 and max beside them, the figures are medians."}}
	streams := byCell(results.Only(records, func(r *results.Record) bool { return r.Load.Events != nil }))
	for _, r := range streams {
		row := []string{cellAndRepeat(r, records), fmt.Sprint(*r.Load.Events)}
		figures := func(from *results.Spread, of ...func(results.Spread) float64) {
			for _, figure := range of {
				text := words.Missing
				if from != nil {
					text = words.InWords(figure(*from))
				}
				row = append(row, text)
			}
		}
		p50 := func(s results.Spread) float64 { return s.P50 }
		p99 := func(s results.Spread) float64 { return s.P99 }
		most := func(s results.Spread) float64 { return s.Max }
		figures(r.Load.FirstByte, p50)
		figures(r.Load.FirstEvent, p50, p99)
		figures(r.Load.EventGap, p50, p99, most)
		s.Table.Rows = append(s.Table.Rows, texts(row...))
	}
	if len(streams) == 0 {
		return nil
	}
	return s
}

// cellAndRepeat is a record's name in a table of records.
func cellAndRepeat(r results.Record, all []results.Record) string {
	name := r.Cell.Name
	if len(all) > 1 && slices.ContainsFunc(all, func(o results.Record) bool { return o.Cell.Repeat > 1 }) {
		name += fmt.Sprintf(", repeat %d", r.Cell.Repeat)
	}
	return show.Line(name)
}
