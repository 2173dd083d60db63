package sqlstore

import (
	"context"
	"slices"
	"strings"

	"stackmeter/results"
)

// MissingFigures are the figures that have no column yet.
func MissingFigures(ctx context.Context, tx Tx) ([]results.Figure, error) {
	var have []string
	rows, err := tx.query(ctx, tx.Dialect.Columns)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		have = append(have, name)
	}
	return slices.DeleteFunc(results.Figures(), func(f results.Figure) bool { return slices.Contains(have, f.Column) }), rows.Err()
}

// AddFigures adds the columns of figures that a stackmeter of before did not
// know, and fills them from the records.
func AddFigures(ctx context.Context, tx Tx) error {
	missing, err := MissingFigures(ctx, tx)
	if err != nil || len(missing) == 0 {
		return err
	}
	var set []string
	for _, f := range missing {
		kind := tx.Dialect.Real
		if f.Whole() {
			kind = tx.Dialect.Whole
		}
		if _, err := tx.exec(ctx, "ALTER TABLE cells ADD COLUMN "+f.Column+" "+kind); err != nil {
			return err
		}
		set = append(set, f.Column+" = ?")
	}
	runs, err := query(ctx, tx, func(id *string) []column { return []column{{"id", id}} }, "runs")
	for _, run := range runs {
		records, err := query(ctx, tx, wholeRecords(), "cells WHERE run = ?", run)
		if err != nil {
			return err
		}
		for i := range records {
			var values []any
			for _, f := range missing {
				values = append(values, figure(f, &records[i]))
			}
			values = append(values, run, records[i].Cell.Name, records[i].Cell.Repeat)
			if _, err := tx.exec(ctx, "UPDATE cells SET "+strings.Join(set, ", ")+" WHERE run = ? AND cell = ? AND repeat = ?", values...); err != nil {
				return err
			}
		}
	}
	return err
}
