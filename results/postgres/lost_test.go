package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/postgres"
	"stackmeter/results/postgres/pgtest"
	"stackmeter/results/storetest"
)

// TestFault33RestartsWhileWriting ends the server again and again, in order and as a crash does, while two
// processes write to runs of their own and one reads: nothing is lost, nothing is there
// twice, and who writes still has his lock.
func TestFault33RestartsWhileWriting(t *testing.T) {
	const writers, each, restarts = 2, 60, 4
	server := pgtest.Start(t)
	url := server.Database()
	var writing sync.WaitGroup
	var half sync.WaitGroup // until each has written something since the last restart
	half.Add(writers)
	for i := range writers {
		store, run := openStore(t, url), fmt.Sprint("run", i)
		store.WaitForLocks(t.Context(), nil)
		if err := store.Lock(t.Context(), run, "writer"); err != nil {
			t.Fatal(err)
		}
		begin(t, store, run)
		writing.Go(func() {
			for repeat := range each {
				if repeat == 3 {
					half.Done()
				}
				if err := errors.Join(store.Spent(t.Context(), run, results.PhaseMeasure, time.Second), store.Put(t.Context(), storetest.Record(run, results.StatusOK, repeat+1))); err != nil {
					t.Errorf("%s: %v", run, err)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	reader, err := postgres.OpenReadOnly(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	half.Wait()
	for n := range restarts {
		server.Kill([]syscall.Signal{syscall.SIGQUIT, syscall.SIGINT}[n%2])
		server.Restart()
		if _, err := reader.Runs(t.Context(), results.Scope{}, 0); err != nil {
			t.Errorf("reading after restart %d: %v", n, err)
		}
	}
	writing.Wait()
	for i := range writers {
		run, records, err := reader.Run(t.Context(), fmt.Sprint("run", i))
		if err != nil || len(records) != each || run.Counts.OK != each || run.Spent[results.PhaseMeasure] != each {
			t.Errorf("run %d: %d records, counts %+v, spent %v (%v)", i, len(records), run.Counts, run.Spent, err)
		}
		if holder, err := reader.Holder(t.Context(), run.ID); err != nil || !strings.HasPrefix(holder, "writer, since") {
			t.Errorf("executed by %q (%v)", holder, err)
		}
	}
}

// A wire is a way to a server that can be cut.
type wire struct {
	address string

	mu   sync.Mutex
	next cut
	live []net.Conn // ends of it that are the server's
}

// A cut says when a wire is cut: what the client sends is looked at.
type cut struct {
	at     string // when a message with this text is sent; empty: not
	before bool   // the server does not get the message
	half   bool   // the server does not learn that the wire is cut
}

// through is a wire to a server.
func through(t *testing.T, server *pgtest.Server, network, address string) *wire {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: listener.Addr().String()}
	t.Cleanup(func() {
		listener.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, conn := range w.live {
			conn.Close()
		}
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", filepath.Join(server.Folder(), pgtest.Socket))
			if err != nil {
				client.Close()
				continue
			}
			w.mu.Lock()
			w.live = append(w.live, to)
			w.mu.Unlock()
			go func() {
				_, _ = io.Copy(client, to)
				client.Close()
			}()
			go w.carry(client, to)
		}
	}()
	return w
}

// carry carries what the client says to the server, until the wire is cut.
func (w *wire) carry(client, server net.Conn) {
	defer client.Close()
	for buffer := make([]byte, 1<<20); ; {
		n, err := client.Read(buffer)
		if err != nil {
			server.Close()
			return
		}
		w.mu.Lock()
		now := w.next
		found := now.at != "" && bytes.Contains(buffer[:n], []byte(now.at))
		if found {
			w.next = cut{}
		}
		w.mu.Unlock()
		if found {
			client.Close() // first, so that no answer comes through
		}
		if !found || !now.before {
			_, _ = server.Write(buffer[:n])
		}
		if found {
			if !now.half {
				server.Close()
			}
			return
		}
	}
}

func (w *wire) cut(next cut) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = next
}

// TestFault33UnknownOutcome cuts the connection at each COMMIT before the server has it and
// after, with and without its noticing: what was to be written is there once, and the
// run's lock is held again.
func TestFault33UnknownOutcome(t *testing.T) {
	server := pgtest.Start(t)
	for name, how := range map[string]cut{
		"before COMMIT":                      {at: "COMMIT", before: true},
		"after COMMIT":                       {at: "COMMIT"},
		"before COMMIT and it hangs":         {at: "COMMIT", before: true, half: true},
		"after COMMIT and the session hangs": {at: "COMMIT", half: true},
		"at BEGIN and it hangs":              {at: "BEGIN", half: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, url, folder := t.Context(), server.Database(), t.TempDir()
			w := through(t, server, "unix", filepath.Join(folder, pgtest.Socket))
			at := strings.Replace(url, strings.ReplaceAll(server.Folder(), "/", "%2F"), strings.ReplaceAll(folder, "/", "%2F"), 1)
			if at == url {
				t.Fatal(url)
			}
			store, beside := openStore(t, at), openStore(t, url)
			if err := store.Lock(ctx, "one", "me"); err != nil {
				t.Fatal(err)
			}
			run := results.Run{ID: "one", Scenario: "nightly", Started: time.Unix(1, 0), Spent: map[string]float64{results.PhaseStart: 1}}
			for i, write := range []func() error{
				func() error { return store.Begin(ctx, run) },
				func() error { return store.Put(ctx, storetest.Record("one", results.StatusFailed, 1)) },
				func() error { return store.Put(ctx, storetest.Record("one", results.StatusOK, 1)) },
				func() error { return store.Planned(ctx, "one", 7) }, // and what was spent
				func() error {
					return store.Import(ctx, results.Run{ID: "two", Started: time.Unix(2, 0)}, []results.Record{storetest.Record("two", results.StatusOK, 1)})
				},
			} {
				if i == 3 {
					if err := store.Spent(ctx, "one", results.PhaseStart, time.Second); err != nil {
						t.Fatal(err)
					}
				}
				w.cut(how)
				if err := write(); err != nil {
					t.Fatalf("write %d: %v", i, err)
				}
				if w.mu.Lock(); w.next.at != "" {
					t.Errorf("write %d was not cut", i)
				}
				w.mu.Unlock()
				if err := beside.Lock(ctx, "one", "another"); !errors.Is(err, results.ErrRunning) {
					t.Errorf("after write %d the lock was there for another: %v", i, err)
				}
			}
			got, records, err := beside.Run(ctx, "one")
			if err != nil || len(records) != 1 || *got.Counts != (results.Counts{OK: 1, Planned: 7}) || got.Spent[results.PhaseStart] != 2 {
				t.Errorf("%d records, counts %+v, spent %v (%v)", len(records), got.Counts, got.Spent, err)
			}
		})
	}
}

// TestFault34LostLock: one process at a time executes a run. Others are told who does, and the run
// is free as soon as he has gone, however that was.
func TestFault34LostLock(t *testing.T) {
	ctx, server := t.Context(), pgtest.Start(t)
	url := server.Database()
	first, second := openStore(t, url), openStore(t, url)
	if holder, err := second.Holder(ctx, "one"); err != nil || holder != "" {
		t.Errorf("nobody executes it, and it is %q (%v)", holder, err)
	}
	if err := errors.Join(first.Lock(ctx, "one", "process 7 of alice on atlas"), second.Lock(ctx, "two", "process 8")); err != nil {
		t.Fatal(err)
	}
	begin(t, first, "one")
	err := second.Lock(ctx, "one", "process 8")
	if !errors.Is(err, results.ErrRunning) || !strings.Contains(err.Error(), "run one: the run is under way: it is executed by process 7 of alice on atlas, since 2") {
		t.Errorf("%v", err)
	}
	// The session of the first one is ended, and another is faster than it.
	server.Exec(url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' ORDER BY pid)")
	third := openStore(t, url)
	if err := third.Lock(ctx, "one", "process 9 of bob on bear"); err != nil {
		t.Fatal(err)
	}
	if err := first.Put(ctx, storetest.Record("one", results.StatusOK, 1)); !errors.Is(err, results.ErrRunning) || !strings.Contains(err.Error(), "process 9 of bob on bear") {
		t.Errorf("who lost the lock wrote: %v", err)
	}
	if err := third.Put(ctx, storetest.Record("one", results.StatusOK, 2)); err != nil {
		t.Error(err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
	if err := second.Lock(ctx, "one", "process 8"); err != nil {
		t.Errorf("after the one who had it was closed: %v", err)
	}
	if _, records, err := second.Run(ctx, "one"); err != nil || len(records) != 1 || records[0].Cell.Repeat != 2 {
		t.Errorf("%+v (%v)", records, err)
	}
}

// TestGivesUp: a server that is gone is told of while it is tried again, and given up
// as soon as the run ends.
func TestGivesUp(t *testing.T) {
	server := pgtest.Start(t)
	store := openStore(t, server.Database())
	begin(t, store, "one")
	server.Kill(syscall.SIGQUIT)
	over, end := context.WithCancel(t.Context())
	told := make(chan string, 10)
	store.WaitForLocks(over, func(text string) {
		told <- text
		if !store.Locked() {
			t.Error("who waits is not said to wait")
		}
		end()
	})
	err := store.Put(context.WithoutCancel(t.Context()), storetest.Record("one", results.StatusOK, 1))
	if err == nil || !strings.Contains(err.Error(), "see whether the server runs and can be reached; what was finished before is kept") || store.Locked() {
		t.Errorf("%v", err)
	}
	if text := <-told; !strings.Contains(text, "does not answer") || len(told) > 0 {
		t.Errorf("told %q, and %d more", text, len(told))
	}
	server.Restart()
	if err := store.Put(t.Context(), storetest.Record("one", results.StatusOK, 1)); err != nil {
		t.Errorf("after it was started again: %v", err)
	}
}

// TestLostBetweenWrites: where the server has ended the session since the last write, the
// next one makes another, also when the run is over.
func TestLostBetweenWrites(t *testing.T) {
	server := pgtest.Start(t)
	over, end := context.WithCancel(t.Context())
	end()
	for name, test := range map[string]struct {
		ends  string // of the database %s
		while context.Context
	}{
		"it was idle for too long":                      {"ALTER DATABASE %s SET idle_session_timeout = '500ms'", t.Context()},
		"it was ended, and the write is the run's last": {"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", over},
	} {
		t.Run(name, func(t *testing.T) {
			database, _, _ := strings.Cut(strings.TrimPrefix(server.Database(), "postgres:///"), "?")
			ends := fmt.Sprintf(test.ends, database)
			if test.while != over {
				server.Exec("postgres", ends)
			}
			// Not a unix socket: there the next write fails before the answer is read.
			w := through(t, server, "tcp", "127.0.0.1:0")
			store := openStore(t, "postgres://stackmeter@"+w.address+"/"+database+"?sslmode=disable")
			store.WaitForLocks(test.while, nil)
			begin(t, store, "one")
			if test.while == over {
				server.Exec("postgres", ends)
			}
			conn := server.Connect("postgres")
			defer conn.Close(t.Context())
			for sessions := 1; sessions > 0; time.Sleep(20 * time.Millisecond) {
				if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = $1", database).Scan(&sessions); err != nil {
					t.Fatal(err)
				}
			}
			if err := store.Put(t.Context(), storetest.Record("one", results.StatusOK, 1)); err != nil {
				t.Error(err)
			}
		})
	}
}
