package main

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"stackmeter/scenarios"
)

// What a run needs on the store's disk. A record with its log tail, series and
// histogram takes less than 64 KiB. SQLite keeps a journal of what it changes.
const (
	cellSpace  = 64 << 10
	spareSpace = 8 << 20
)

// checkSpace refuses a run whose records may not fit on the store's disk: a full
// disk would end it in the middle of the night.
func checkSpace(db string, plan scenarios.Plan) error {
	var fs unix.Statfs_t
	folder := filepath.Dir(db)
	if err := unix.Statfs(folder, &fs); err != nil {
		return nil // opening the store says what is wrong with it
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if need := int64(plan.Cells())*cellSpace + spareSpace; free < need {
		return fmt.Errorf("the disk of the store (%s) has %d MiB free, and the records of this run may take %d MiB; free some space, or name another file with --db", folder, free>>20, need>>20)
	}
	return nil
}
