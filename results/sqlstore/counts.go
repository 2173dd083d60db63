package sqlstore

import (
	"context"

	"stackmeter/results"
)

// How many cells of a run have each status is kept beside the run: who lists runs
// would otherwise count through all cells of the store. Whether what was pruned, or ran
// out of memory, is a fault depends on the run, see results.Counts.

// Recount is a statement that counts the cells of runs anew.
const Recount = `UPDATE counts SET
	ok            = (SELECT count(*) FROM cells WHERE cells.run = counts.run AND status = 'ok'),
	failed        = (SELECT count(*) FROM cells WHERE cells.run = counts.run AND status = 'failed' AND out_of_memory IS NULL),
	out_of_memory = (SELECT count(*) FROM cells WHERE cells.run = counts.run AND status = 'failed' AND out_of_memory IS NOT NULL),
	pruned        = (SELECT count(*) FROM cells WHERE cells.run = counts.run AND status = 'pruned')`

// counted is the column of counts that counts a record.
func counted(status, outOfMemory string) string {
	switch {
	case status == results.StatusFailed && outOfMemory != "":
		return "out_of_memory"
	default:
		return status
	}
}

// count counts a record that takes the place of one that was counted in a column, or
// of none.
func count(ctx context.Context, tx Tx, record results.Record, before string) error {
	now := counted(record.Status, record.OutOfMemory)
	if now == before {
		return nil
	}
	set := now + " = " + now + " + 1"
	if before != "" {
		set += ", " + before + " = " + before + " - 1"
	}
	_, err := tx.exec(ctx, "UPDATE counts SET "+set+" WHERE run = ?", record.Run)
	return err
}
