package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/results/storetest"
)

// The test binary is its own second process: with writerEnv set it writes
// cells into a store and says on its standard output which ones are there.
const writerEnv = "STACKMETER_TEST_WRITER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(writerEnv); spec != "" {
		if err := writeCells(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeCells puts cells into the run that spec names, "RUN FIRST COUNT PATH",
// and prints each one's repeat after Put has returned.
func writeCells(spec string) error {
	fields := strings.SplitN(spec, " ", 4)
	first, err := strconv.Atoi(fields[1])
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(fields[2])
	if err != nil {
		return err
	}
	ctx := context.Background()
	store, err := sqlite.Open(ctx, fields[3])
	if err != nil {
		return err
	}
	for repeat := first; repeat < first+count; repeat++ {
		r := storetest.Record(fields[0], results.StatusOK, repeat)
		r.LogTail = strings.Repeat("x", 20_000) // several pages, so that a kill can meet a half-written cell
		if err := store.Put(ctx, r); err != nil {
			return err
		}
		fmt.Println(repeat)
	}
	return store.Close()
}

func writer(t *testing.T, run string, first, count int, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %s", writerEnv, run, first, count, path))
	cmd.Stderr = os.Stderr
	return cmd
}

// TestKill kills a writing process after different numbers of cells: what it
// said was stored is there, and the store goes on working.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	store := openStore(t, path)
	begin(t, store, "one")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	said := map[int]bool{}
	for round, after := range []int{1, 2, 3, 5, 8, 13} {
		cmd := writer(t, "one", 1000*round, 1000, path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			repeat, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(err)
			}
			said[repeat] = true
			if n == after {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself before it was killed")
		}
	}

	store = openStore(t, path)
	_, records, err := store.Run(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	held := map[int]bool{}
	for _, r := range records {
		if held[r.Cell.Repeat] {
			t.Errorf("repeat %d is there twice", r.Cell.Repeat)
		}
		held[r.Cell.Repeat] = true
		if len(r.LogTail) != 20_000 {
			t.Errorf("repeat %d is half there", r.Cell.Repeat)
		}
	}
	for repeat := range said {
		if !held[repeat] {
			t.Errorf("repeat %d was stored and is lost", repeat)
		}
	}
	if err := store.Put(t.Context(), storetest.Record("one", results.StatusOK, 99_999)); err != nil {
		t.Errorf("after the kills: %v", err)
	}
}

// TestTwoProcesses has two processes make the same store and write to it at
// the same time, while this one reads.
func TestTwoProcesses(t *testing.T) {
	const each = 20
	path := filepath.Join(t.TempDir(), "s.db")
	store := openStore(t, path)
	begin(t, store, "a")
	begin(t, store, "b")
	writers := []*exec.Cmd{writer(t, "a", 0, each, path), writer(t, "b", 0, each, path)}
	for _, cmd := range writers {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, len(writers))
	for _, cmd := range writers {
		go func() { ended <- cmd.Wait() }()
	}
	reader, err := sqlite.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	seen := 0
	for left := len(writers); left > 0; {
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("writer: %v", err)
			}
			left--
		default:
			_, records, err := reader.Run(t.Context(), "a")
			if err != nil {
				t.Fatalf("reading beside the writers: %v", err)
			}
			if len(records) < seen {
				t.Fatalf("a reader saw %d cells, then %d", seen, len(records))
			}
			seen = len(records)
		}
	}
	for _, run := range []string{"a", "b"} {
		if _, records, err := store.Run(t.Context(), run); err != nil || len(records) != each {
			t.Errorf("run %s holds %d cells (%v), want %d", run, len(records), err, each)
		}
	}
}

// TestMakeAtOnce has several stores open the same missing file at once.
func TestMakeAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	ended := make(chan error)
	const several = 4
	for i := range several {
		go func() {
			store, err := sqlite.Open(context.Background(), path)
			if err == nil {
				err = store.Begin(context.Background(), results.Run{ID: strconv.Itoa(i)})
				store.Close()
			}
			ended <- err
		}()
	}
	for range several {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if runs, err := openStore(t, path).Runs(t.Context(), results.Scope{}, 0); err != nil || len(runs) != several {
		t.Errorf("%d runs (%v), want %d", len(runs), err, several)
	}
}

// foreignDatabase is the bytes of a SQLite file that is not a store.
func foreignDatabase(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bookmarks.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE runs (id TEXT); INSERT INTO runs VALUES ('mine')"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
