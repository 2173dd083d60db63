package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/storetest"
)

// TestChangeSinceLastTime: a report says what changed since the scenario's last run that
// ended well, in every format that people read, and nothing where there was none.
func TestChangeSinceLastTime(t *testing.T) {
	db := filepath.Join(t.TempDir(), "s.db")
	store, err := openStoreToWrite(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for i, one := range []struct {
		id, outcome string
		seconds     float64
	}{{"first", results.OutcomeOK, 1}, {"broken", results.OutcomeInfrastructure, 9}, {"second", results.OutcomeOK, 1.5}} {
		began := time.Unix(int64(1000*(i+1)), 0)
		failed := store.Begin(t.Context(), results.Run{ID: one.id, Scenario: "s", Started: began})
		for repeat := 1; repeat <= 6; repeat++ {
			r := storetest.Record(one.id, results.StatusOK, repeat)
			r.Duration, r.Replies = new(one.seconds+float64(repeat)/1000), r.Cell.Load.Requests
			failed = errors.Join(failed, store.Put(t.Context(), r))
		}
		if err := errors.Join(failed, store.Finish(t.Context(), one.id, one.outcome, began.Add(time.Minute))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"table", "markdown", "html"} {
		status, text := said("report", "second", "--db", db, "--format", format)
		text = strings.Join(strings.Fields(strings.ReplaceAll(text, "&#43;", "+")), " ")
		if status != exitOK || !strings.Contains(text, "worse: duration of ") || !strings.Contains(text, "+49.") || !strings.Contains(text, "against run first") {
			t.Errorf("%s: exit status %d: %.3000s", format, status, text)
		}
		if _, text := said("report", "first", "--db", db, "--format", format); strings.Contains(text, "against run") {
			t.Errorf("%s: the first run has nothing before it: %.3000s", format, text)
		}
	}
}
