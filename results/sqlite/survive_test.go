package sqlite_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/results/storetest"
)

// TestBackupWhileWriting backs a store up again and again while another
// process writes to it: each copy is whole, none has fewer cells than the one
// before, and no write fails for it.
func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s.db")
	store := openStore(t, path)
	begin(t, store, "one")
	cmd := writer(t, "one", 1, 60, path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	reader, err := sqlite.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	cells, backups := 0, 0
	for writing := true; writing; backups++ {
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the writer: %v", err)
			}
			writing = false
		default:
		}
		copied := filepath.Join(dir, "backup-"+time.Now().Format("150405.000000000")+".db")
		if err := reader.Backup(t.Context(), copied); err != nil {
			t.Fatal(err)
		}
		backup, err := sqlite.Open(t.Context(), copied) // which checks the whole file
		if err != nil {
			t.Fatal(err)
		}
		_, records, err := backup.Run(t.Context(), "one")
		if err != nil || len(records) < cells {
			t.Errorf("a copy has %d cells, the one before %d: %v", len(records), cells, err)
		}
		cells = len(records)
		backup.Close()
	}
	if cells != 60 || backups < 2 {
		t.Errorf("the last of %d copies has %d cells, want 60", backups, cells)
	}
	if rest, _ := filepath.Glob(filepath.Join(dir, ".stackmeter-*")); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
}

func TestBackupOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	store := openStore(t, filepath.Join(dir, "s.db"))
	file := filepath.Join(dir, "precious")
	if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := store.Backup(t.Context(), file); err == nil || !strings.Contains(err.Error(), "not overwritten") {
		t.Errorf("over a file: %v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "content" {
		t.Errorf("the file is now %q", text)
	}
	if err := store.Backup(t.Context(), filepath.Join(dir, "missing", "b.db")); err == nil {
		t.Error("into a folder that is not there")
	}
}

// smallDisk is a file system of its own, of two megabytes.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts a file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("stackmeter-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs to mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFault16StoreOnAFullDisk writes cells until the disk is full: the error
// says so, every cell that was stored is there, and once there is room again
// the store goes on.
func TestFault16StoreOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "s.db")
	store := openStore(t, path)
	begin(t, store, "one")
	filler := filepath.Join(dir, "filler")
	if err := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=64k", "count=16", "status=none").Run(); err != nil {
		t.Fatal(err)
	}
	stored := 0
	var failed error
	for failed == nil && stored < 1000 {
		r := storetest.Record("one", results.StatusOK, stored+1)
		r.LogTail = strings.Repeat("x", 20_000)
		if failed = store.Put(t.Context(), r); failed == nil {
			stored++
		}
	}
	if failed == nil || !strings.Contains(failed.Error(), "the disk is full") {
		t.Fatalf("after %d cells: %v", stored, failed)
	}
	// As after a kill: another process looks at what is there.
	if err := errors.Join(ignoreFull(store.Close()), os.Remove(filler)); err != nil {
		t.Fatal(err)
	}
	store = openStore(t, path)
	_, records, err := store.Run(t.Context(), "one")
	if err != nil || len(records) != stored {
		t.Errorf("%d of %d cells are there: %v", len(records), stored, err)
	}
	if slices.ContainsFunc(records, func(r results.Record) bool { return len(r.LogTail) != 20_000 }) {
		t.Error("a cell is half there")
	}
	if err := store.Put(t.Context(), storetest.Record("one", results.StatusOK, stored+1)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func ignoreFull(err error) error {
	if err != nil && strings.Contains(err.Error(), "the disk is full") {
		return nil
	}
	return err
}
