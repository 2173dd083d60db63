package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/results/storetest"
)

// locked takes the lock of a store, as a database browser may, until the returned
// function is called.
func locked(t *testing.T, db string) (release func()) {
	t.Helper()
	other, err := sql.Open("sqlite", db+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := other.Conn(t.Context())
	if err == nil {
		_, err = conn.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(conn.Close(), other.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestAttackRecordIsKept takes the store from a run by every means. The record is
// in a file, the message says what happened and how to import it, and the import
// does.
func TestAttackRecordIsKept(t *testing.T) {
	for name, test := range map[string]struct {
		take func(t *testing.T, dir string) (back func())
		says string
		all  bool // the run's earlier record is in the file too
	}{
		"locked": {func(t *testing.T, dir string) func() { return locked(t, dir+"/s.db") }, "in use by another program", false},
		"moved": {func(t *testing.T, dir string) func() {
			_ = os.Rename(dir+"/s.db", dir+"/old.db")
			return func() {}
		}, "moved, deleted or replaced while it was open: there is no file of that name", true},
		"deleted": {func(t *testing.T, dir string) func() { _ = os.Remove(dir + "/s.db"); return func() {} }, "moved, deleted", true},
		"replaced": {func(t *testing.T, dir string) func() {
			_ = exec.Command("sh", "-c", "cd "+dir+" && cp s.db copy && mv copy s.db").Run()
			return func() {}
		}, "there is another file of that name", true},
		"without its folder": {func(t *testing.T, dir string) func() {
			_ = os.RemoveAll(dir)
			return func() { _ = os.Mkdir(dir, 0o755) }
		}, "there is no file of that name", true},
		"damaged": {func(t *testing.T, dir string) func() {
			whole, err := os.ReadFile(dir + "/s.db")
			if err == nil {
				err = os.WriteFile(dir+"/s.db", append(whole[:24:24], make([]byte, len(whole)-24)...), 0o644) // the same file
			}
			if err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.WriteFile(dir+"/s.db", whole, 0o644) }
		}, "damaged", false},
		"full disk": {func(t *testing.T, dir string) func() {
			_ = exec.Command("dd", "if=/dev/zero", "of="+dir+"/filler", "bs=4k", "status=none").Run()
			return func() { _ = os.Remove(dir + "/filler") }
		}, "the disk is full", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			dir := filepath.Join(t.TempDir(), "stores")
			if name == "full disk" {
				dir = diskOf(t, "1m")
			} else if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			db := dir + "/s.db"
			opened, err := openStoreToWrite(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			k := &keeper{store: opened, db: db, run: results.Run{ID: "one", Scenario: "s", Started: time.Unix(1, 0).UTC(), Planned: 2}}
			defer k.Close()
			over, end := context.WithCancel(t.Context())
			end()
			k.WaitForLocks(over, nil)
			first, second := storetest.Record("one", results.StatusOK, 1), storetest.Record("one", results.StatusOK, 2)
			for _, r := range []*results.Record{&first, &second} {
				r.Duration, r.Replies = new(1.5), r.Cell.Load.Requests
			}
			second.LogTail = strings.Repeat("log ", 10_000)
			if err := errors.Join(k.Begin(t.Context(), k.run), k.Put(t.Context(), first)); err != nil {
				t.Fatal(err)
			}
			back := test.take(t, dir)
			err = k.Put(t.Context(), second)
			back()
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "no permission") {
				t.Fatalf("%v", err)
			}
			command := regexp.MustCompile("`stackmeter (import [^`]+)`").FindStringSubmatch(err.Error())
			if command == nil {
				t.Fatalf("no command: %v", err)
			}
			var said strings.Builder
			a := &app{stdout: io.Discard, stderr: console.NewTeller(&said)}
			if status := a.main(strings.Fields(command[1])); status != exitOK {
				t.Fatalf("%s: exit status %d: %s", command[1], status, said.String())
			}
			after, err := openStore(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			defer after.Close()
			run, records, err := after.Run(t.Context(), "one")
			if err != nil || len(records) != 2 || records[1].LogTail != second.LogTail && records[0].LogTail != second.LogTail {
				t.Errorf("%d records (%v)", len(records), err)
			}
			if whole := name == "locked" || name == "full disk" || name == "damaged" || name == "replaced"; whole != (run.Imported == "") {
				t.Errorf("imported from %q", run.Imported)
			}
		})
	}
}

// TestAttackStoreLockedWhileRunning locks the store of a run after its first cell,
// until it is told of, and then for good; and moves it away.
func TestAttackStoreLockedWhileRunning(t *testing.T) {
	s := newSession(t)
	db := filepath.Join(s.dir, defaultStore)
	atFirst := func(do func(p *os.Process)) func(orchestrator.Event, *os.Process) {
		done := false
		return func(e orchestrator.Event, p *os.Process) {
			if e.Kind == orchestrator.EventResult && !done {
				done = true
				do(p)
			}
		}
	}
	var release func()
	holder := fmt.Sprintf("(process %d); waiting for as long as the run may last", os.Getpid())
	s.onSaid = func(line string, _ *os.Process) {
		if strings.Contains(line, holder) {
			release()
		}
	}
	status, _ := s.run(atFirst(func(*os.Process) { release = locked(t, db) }))
	if _, records := s.stored(); status != exitOK || len(records) != sessionCells || strings.Count(s.said, holder) != 1 {
		t.Errorf("locked for a while: exit status %d, %d records: %s", status, len(records), s.said)
	}

	importKept := func(what string, wantStatus int) {
		t.Helper()
		command := regexp.MustCompile("`stackmeter (import [^`]+)`").FindStringSubmatch(s.said)
		if status != wantStatus || command == nil {
			t.Fatalf("%s: exit status %d: %s", what, status, s.said)
		}
		if out, err := s.exec(t.Context(), strings.Fields(command[1])...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", what, err, out)
		}
		_, records := s.stored()
		if len(records) != 2 {
			t.Errorf("%s: %d records after the import, want 2", what, len(records))
		}
		s.finish(records)
	}
	s.onSaid = func(line string, p *os.Process) {
		if strings.Contains(line, holder) {
			_ = p.Signal(os.Interrupt)
		}
	}
	status, _ = s.run(atFirst(func(*os.Process) { release = locked(t, db) }))
	s.onSaid = nil
	release()
	importKept("interrupted while it waited", exitInterrupted)

	status, _ = s.run(atFirst(func(*os.Process) { _ = os.Rename(db, db+".elsewhere") }))
	if !strings.Contains(s.said, results.ErrMoved.Error()) {
		t.Errorf("moved: %s", s.said)
	}
	if err := os.Rename(db+".elsewhere", db); err != nil {
		t.Fatal(err)
	}
	importKept("moved", exitInfrastructure)
}
