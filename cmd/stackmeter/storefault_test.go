package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/results/storetest"
)

// diskOf mounts a file system of so many megabytes.
func diskOf(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("stackmeter-test", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFault16NoRoom refuses a run whose records may not fit, before anything
// is started.
func TestFault16NoRoom(t *testing.T) {
	s := newSession(t)
	disk := diskOf(t, "4m")
	status, said := s.second("--db", filepath.Join(disk, "nightly.db"))
	if status != exitInfrastructure || !strings.Contains(said, "has 4 MiB free") || !strings.Contains(said, "--db") {
		t.Errorf("exit status %d: %s", status, said)
	}
	if files, _ := filepath.Glob(filepath.Join(disk, "*")); len(files) > 0 {
		t.Errorf("it made %v", files)
	}
}

// TestFault16DiskFills fills the store's disk up while a run is under way.
func TestFault16DiskFills(t *testing.T) {
	s := newSession(t)
	disk := diskOf(t, "16m")
	db := filepath.Join(disk, "nightly.db")
	filler := filepath.Join(disk, "filler")
	status, stdout := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind == orchestrator.EventResult {
			if _, err := os.Stat(filler); err != nil {
				_ = exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=4k", "status=none").Run() // until it is full
			}
		}
	}, "--db", db)
	if status != exitInfrastructure {
		t.Errorf("exit status %d, want %d", status, exitInfrastructure)
	}
	if !strings.Contains(stdout, "flask") {
		t.Errorf("what is finished is not printed:\n%s", stdout)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	store, err := openStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	run, records, err := store.Run(t.Context(), "")
	store.Close()
	if err != nil || len(records) == 0 || len(records) == sessionCells || records[0].Status != results.StatusOK {
		t.Errorf("%d cells: %v", len(records), err)
	}
	s.nothingLeft(run.ID)
	if status, _ := s.run(nil, "--db", db, "--resume"); status != exitOK {
		t.Errorf("resumed with room again: exit status %d", status)
	}
}

// TestFault17DamagedStore has a store that is cut short, and one with a page
// of zeros, as after a bad disk: no run writes to it, and what can be read is
// shown with what is wrong.
func TestFault17DamagedStore(t *testing.T) {
	dir := t.TempDir()
	program := command(t, dir)
	file := filepath.Join(dir, "whole.db")
	store, err := openStoreToWrite(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Begin(t.Context(), results.Run{ID: "one", Scenario: "nightly", Started: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	for repeat := range 20 {
		r := storetest.Record("one", results.StatusOK, repeat+1)
		r.LogTail = strings.Repeat("log ", 500)
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	scenario := filepath.Join(dir, "s.yaml")
	if err := os.WriteFile(scenario, []byte("name: nightly\napp: {image: none, wsgi: 'wsgi:app'}\ntopologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for name, content := range map[string][]byte{
		"cut short":       whole[:len(whole)-page],
		"a page of zeros": append(append(bytes.Clone(whole[:len(whole)-4*page]), make([]byte, page)...), whole[len(whole)-3*page:]...),
	} {
		t.Run(name, func(t *testing.T) {
			db := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".db")
			if err := os.WriteFile(db, content, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"run", scenario, "--runtime", "process"}, {"report"}, {"runs"}} {
				cmd := exec.CommandContext(t.Context(), program, append(args, "--db", db)...)
				cmd.Dir = dir
				out, _ := cmd.CombinedOutput()
				if args[0] == "run" && (cmd.ProcessState.ExitCode() != exitInfrastructure || !strings.Contains(string(out), "damaged") || !strings.Contains(string(out), "left as it is")) {
					t.Errorf("%s: exit status %d: %s", args[0], cmd.ProcessState.ExitCode(), out)
				}
				if now, err := os.ReadFile(db); err != nil || !bytes.Equal(now, content) {
					t.Errorf("%s changed the file (%v)", args[0], err)
				}
			}
		})
	}
}

// TestAttackDamagedStoreIsTold swaps pages of a store: no command panics, and each
// ends with what is wrong, whatever of it could be read.
func TestAttackDamagedStoreIsTold(t *testing.T) {
	t.Chdir(t.TempDir())
	store, err := openStoreToWrite(t.Context(), "s.db")
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"one", "two"} {
		if err := errors.Join(
			store.Begin(t.Context(), results.Run{ID: id, Scenario: "nightly", Started: time.Unix(int64(i), 0), Tags: []string{"tag-" + id}}),
			store.Put(t.Context(), storetest.Record(id, results.StatusOK, 1)), store.Put(t.Context(), storetest.Record(id, results.StatusOK, 2))); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile("s.db")
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for n := 1; n+1 < len(whole)/page; n++ {
		if n == 5 {
			continue // the tags and their index: each reads like the other
		}
		swapped := append(bytes.Clone(whole[:n*page]), whole[(n+1)*page:(n+2)*page]...)
		swapped = append(append(swapped, whole[n*page:(n+1)*page]...), whole[(n+2)*page:]...)
		if err := os.WriteFile("s.db", swapped, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"report", "report one --format html", "runs", "history", "compare one two", "recommend", "backup copy.db", "runs tag one name"} {
			var said bytes.Buffer
			status := (&app{stdout: io.Discard, stderr: console.NewTeller(&said)}).main(append(strings.Fields(line), "--db", "s.db"))
			if status != exitInfrastructure || !strings.Contains(said.String(), "damaged") || !strings.Contains(said.String(), "name another file") {
				t.Errorf("pages %d and %d: %s: exit status %d: %s", n+1, n+2, line, status, &said)
			}
		}
	}
}
