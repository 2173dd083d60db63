package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/results/postgres/pgtest"
	"stackmeter/results/storetest"
)

// inDatabase is the run that a store in a database holds under the name.
func inDatabase(t *testing.T, db, which string) (results.Run, []results.Record) {
	t.Helper()
	store, err := openStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	run, records, err := store.Run(t.Context(), which)
	if err != nil {
		t.Fatal(err)
	}
	return run, records
}

// TestFault33ServerRestarts ends the server of the store as a crash does after the
// first cell, for longer than a cell takes, and starts it again: the run goes on with
// all its cells, and ends as if nothing had been.
func TestFault33ServerRestarts(t *testing.T) {
	server := pgtest.Start(t)
	db := server.Database()
	s := newSession(t)
	var restarting sync.WaitGroup
	restarted := false
	status, _ := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind != orchestrator.EventResult || restarted {
			return
		}
		restarted = true
		server.Kill(syscall.SIGQUIT)
		restarting.Go(func() {
			time.Sleep(5 * time.Second)
			server.Restart()
		})
	}, "--db", db)
	restarting.Wait()
	run, records := inDatabase(t, db, "")
	if status != exitOK || len(records) != sessionCells || run.Outcome != results.OutcomeOK || !strings.Contains(s.said, "does not answer") {
		t.Errorf("exit status %d, %d cells, outcome %q: %s", status, len(records), run.Outcome, s.said)
	}
	s.nothingLeft(run.ID)
}

// TestFault33ServerStaysAway ends the server for good. The run ends when it is interrupted,
// and its record is in a file that is imported once the server is back; then it is
// resumed.
func TestFault33ServerStaysAway(t *testing.T) {
	server := pgtest.Start(t)
	db := server.Database()
	s := newSession(t)
	gone := false
	s.onSaid = func(line string, p *os.Process) {
		if strings.Contains(line, "does not answer") {
			_ = p.Signal(os.Interrupt)
		}
	}
	status, _ := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind == orchestrator.EventResult && !gone {
			gone = true
			server.Kill(syscall.SIGQUIT)
		}
	}, "--db", db)
	s.onSaid = nil
	server.Restart()
	command := regexp.MustCompile("`stackmeter (import [^`]+)`").FindStringSubmatch(s.said)
	if status != exitInterrupted || command == nil {
		t.Fatalf("exit status %d: %s", status, s.said)
	}
	if out, err := s.exec(t.Context(), strings.Fields(command[1])...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run, before := inDatabase(t, db, "")
	if len(before) != 2 {
		t.Errorf("%d records after the import, want 2", len(before))
	}
	if status, _ := s.run(nil, "--db", db, "--resume"); status != exitOK {
		t.Errorf("resumed: exit status %d: %s", status, s.said)
	}
	_, records := inDatabase(t, db, "")
	for _, old := range before {
		if len(records) != sessionCells || !slices.ContainsFunc(records, func(r results.Record) bool { return r.Key() == old.Key() && r.Started.Equal(old.Started) }) {
			t.Errorf("%d cells, and %s was measured again", len(records), old.Cell.Name)
		}
	}
	s.nothingLeft(run.ID)
}

// TestFault34TwoOrchestrators has two processes execute runs of their own in one store.
// Neither run can be taken over while its process lives. One of them is killed: then its
// run is resumed, and the other has noticed nothing.
func TestFault34TwoOrchestrators(t *testing.T) {
	server := pgtest.Start(t)
	db := server.Database()
	s := newSession(t)
	beside := &session{t: t, dir: t.TempDir(), program: s.program, app: s.app} // with locks of its own, as another machine
	text, err := os.ReadFile(filepath.Join(s.dir, "session.yaml"))
	if err == nil {
		err = os.WriteFile(filepath.Join(beside.dir, "session.yaml"), bytes.Replace(text, []byte("name: session"), []byte("name: beside"), 1), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	var other sync.WaitGroup
	other.Go(func() {
		if status, _ := beside.run(nil, "--db", db); status != exitOK {
			t.Errorf("the other: exit status %d: %s", status, beside.said)
		}
	})
	killed := false
	s.run(func(e orchestrator.Event, p *os.Process) {
		if e.Kind != orchestrator.EventResult || killed {
			return
		}
		killed = true
		store, err := openStore(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		runs, err := store.Runs(t.Context(), results.Scope{Scenario: "session"}, 1)
		if err != nil || len(runs) != 1 {
			t.Fatalf("%d runs (%v)", len(runs), err)
		}
		run := runs[0]
		out, _ := s.exec(t.Context(), "run", "session.yaml", "--allow-path", s.app, "--db", db, "--resume", run.ID, "--progress", "none").CombinedOutput()
		if !strings.Contains(string(out), "run "+run.ID+": the run is under way: it is executed by process ") {
			t.Errorf("resumed while its process lives: %s", out)
		}
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	}, "--db", db)
	other.Wait()
	if status, _ := s.run(nil, "--db", db, "--resume"); status != exitOK {
		t.Errorf("resumed: exit status %d: %s", status, s.said)
	}
	store, err := openStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	runs, err := store.Runs(t.Context(), results.Scope{}, 0)
	if err != nil || len(runs) != 2 {
		t.Fatalf("%d runs (%v)", len(runs), err)
	}
	for _, run := range runs {
		if run.Outcome != results.OutcomeOK || run.Counts.OK != sessionCells || run.Counts.Planned != sessionCells {
			t.Errorf("run %s of %s: outcome %q, counts %+v", run.ID, run.Scenario, run.Outcome, run.Counts)
		}
		s.nothingLeft(run.ID)
	}
}

// twoRuns is a store with two runs: a whole one, with a tag, and one that was killed.
func twoRuns(t *testing.T, db string) {
	t.Helper()
	store, err := openStoreToWrite(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	at := time.Unix(9, 0)
	run := results.Run{ID: "one", Scenario: "nightly", Started: time.Unix(1, 0), Tags: []string{"gold"}, Finished: &at, Outcome: results.OutcomeOK, Planned: 2,
		Verdict: results.VerdictPassed, Answers: []results.Answer{{Load: "mt2/n10", Topology: "flask"}}, Fingerprint: "f", Spent: map[string]float64{results.PhaseMeasure: 1.5}}
	records := []results.Record{storetest.Record("one", results.StatusOK, 1), storetest.Record("one", results.StatusFailed, 2)}
	records[0].Duration, records[0].Replies = new(1.5), 10
	if err := store.Import(t.Context(), run, records); err != nil {
		t.Fatal(err)
	}
	if err := store.Import(t.Context(), results.Run{ID: "two", Scenario: "nightly", Started: time.Unix(2, 0), Planned: 1}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestCopy copies runs between stores of both kinds, there and back: what comes back is
// what there was. Twice is as once, and what cannot be copied leaves everything.
func TestCopy(t *testing.T) {
	t.Chdir(t.TempDir())
	server := pgtest.Start(t)
	db := server.Database()
	twoRuns(t, "a.db")
	copied := func(status int, says string, args ...string) {
		t.Helper()
		if got, printed := said(append([]string{"copy"}, args...)...); got != status || !strings.Contains(printed, says) {
			t.Errorf("copy %v: exit status %d: %s", args, got, printed)
		}
	}
	copied(exitOK, "one  nightly, 2 records\ntwo  nightly, 0 records\n", "a.db", db)
	copied(exitOK, "one  nightly, was there already\ntwo  nightly, was there already\n", "a.db", db)
	copied(exitOK, "one  nightly, 2 records\n", db, "b.db", "gold", "gold", "one")
	for _, format := range []string{"json", "csv", "html"} {
		_, want := said("report", "one", "--db", "a.db", "--format", format)
		for _, other := range []string{db, "b.db"} {
			if status, got := said("report", "one", "--db", other, "--format", format); status != exitOK || got != want {
				t.Errorf("%s of the copy in %s is another: exit status %d\n%s\nwant\n%s", format, other, status, got, want)
			}
		}
	}
	if _, runs := said("runs", "--db", "b.db"); strings.Contains(runs, "two") {
		t.Errorf("a run came along that was not named:\n%s", runs)
	}
	copied(exitUsage, "are the same store", db, db)
	copied(exitUsage, "are the same store", "a.db", "./a.db")
	copied(exitUsage, "no such run", "a.db", "new.db", "nosuch")
	copied(exitUsage, "none.db", "none.db", "new.db")
	if _, err := os.Stat("new.db"); err == nil {
		t.Error("what was refused made a store")
	}
	if status, printed := said("runs", "tag", "two", "silver", "--db", db); status != exitOK {
		t.Fatal(printed)
	}
	if status, printed := said("runs", "tag", "one", "silver", "--db", "b.db"); status != exitOK {
		t.Fatal(printed)
	}
	copied(exitUsage, "run two has the tag silver, and so has run one there", db, "b.db")
	copied(exitUsage, "run one is there already, and is not the same", db, "b.db", "one")
	if _, runs := said("runs", "--db", "b.db"); strings.Contains(runs, "two") {
		t.Errorf("something was copied all the same:\n%s", runs)
	}
	store, err := openStoreToWrite(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := lockRun(t.Context(), store, "two", 0); err != nil {
		t.Fatal(err)
	}
	copied(exitUsage, "run two is under way", db, "new.db", "two")
	copied(exitOK, "run two is under way, and is not copied", db, "new.db")
}

// TestPostgresCommands tries what each command does otherwise of a store in a database.
// No password is printed, wherever it comes from.
func TestPostgresCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	server := pgtest.Start(t)
	db := server.Database() + "&password=SECRET"
	said := func(status int, says string, args ...string) {
		t.Helper()
		got, printed := said(args...)
		if got != status || !strings.Contains(printed, says) || strings.Contains(printed, "SECRET") {
			t.Errorf("%v: exit status %d: %s", args, got, printed)
		}
	}
	said(exitUsage, "there are no tables of a store; `stackmeter run` makes them", "runs", "--db", db)
	said(exitUsage, "no tables", "runs", "tag", "one", "gold", "--db", db)
	twoRuns(t, db)
	said(exitOK, "two", "runs", "--db", db)
	said(exitUsage, "pg_dump", "backup", "copy.db", "--db", db)
	t.Setenv(storeVariable, db)
	said(exitOK, "gold", "runs")
	said(exitOK, "(default \"postgres:///db1?host=", "runs", "--help")
	said(exitOK, "the store: an SQLite", "doctor", "--help")
	if found := lookAtStore(t.Context(), db); found.Err != nil || found.Folder != "" || !strings.Contains(found.Text, "answers; its last run is two of nightly") || strings.Contains(found.Text, "SECRET") {
		t.Errorf("doctor says %+v", found)
	}
	if found := lookAtStore(t.Context(), "none.db"); found.Err != nil || found.Folder != "." || !strings.Contains(found.Text, "none yet") {
		t.Errorf("doctor says %+v", found)
	}
	server.Kill(syscall.SIGQUIT)
	said(exitInfrastructure, "see whether the server runs", "report")
	if found := lookAtStore(t.Context(), db); found.Err == nil || strings.Contains(found.Err.Error(), "SECRET") {
		t.Errorf("doctor says %+v", found)
	}
	server.Restart()
	if entries, err := filepath.Glob("*"); err != nil || len(entries) > 0 {
		t.Errorf("it made %v (%v)", entries, err)
	}
}
