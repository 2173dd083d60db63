package postgres

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"stackmeter/results"
	"stackmeter/results/sqlstore"
)

// A lock's key is a number that follows from what is locked. Locks are the database's,
// and its schemas may each hold a store.
func key(schema, what string) int64 {
	sum := sha256.Sum256([]byte("stackmeter " + schema + " " + what))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// Lock takes a run for this process, which then alone executes it, until Close or until
// the connection is lost. who is what others are told of it. The error is ErrRunning if
// another process has it.
func (s *Store) Lock(ctx context.Context, run, who string) error {
	if err := (database{s}).Writable(); err != nil {
		return err
	}
	s.session.Lock()
	defer s.session.Unlock()
	return s.explain(s.patiently(ctx, func() error {
		conn, err := s.connected(ctx)
		if err != nil {
			return err
		}
		err = lockRun(ctx, conn, run, who)
		switch {
		case err == nil:
			s.held[run] = who
		case gone(conn):
			s.drop()
			err = lost{err}
		}
		return err
	}))
}

// take prepares a connection to write on: it takes again the locks that were lost with
// the last one. Where the server has not noticed that the last one is lost, its process
// still holds them, and is ended.
func (s *Store) take(ctx context.Context, conn *sql.Conn) error {
	if s.backend.pid != 0 {
		if _, err := conn.ExecContext(ctx, "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2",
			s.backend.pid, s.backend.started); err != nil {
			return err
		}
	}
	if err := conn.QueryRowContext(ctx, "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()").
		Scan(&s.backend.pid, &s.backend.started); err != nil {
		return err
	}
	for _, run := range slices.Sorted(maps.Keys(s.held)) {
		if err := lockRun(ctx, conn, run, s.held[run]); err != nil {
			return err
		}
	}
	return nil
}

// lockRun takes the lock of a run in the session of a connection.
func lockRun(ctx context.Context, conn *sql.Conn, run, who string) error {
	var schema string
	if err := conn.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return err
	}
	var got bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", key(schema, "run "+run)).Scan(&got); err != nil {
		return err
	}
	if !got {
		holder, err := holderOf(ctx, conn, run)
		if err != nil {
			return err
		}
		return fmt.Errorf("run %s: %w: it is executed by %s; wait for it or end it", run, results.ErrRunning, holder)
	}
	_, err := conn.ExecContext(ctx, "INSERT INTO locks (run, holder, since) VALUES ($1, $2, now()) ON CONFLICT (run) DO UPDATE SET holder = excluded.holder, since = excluded.since", run, who)
	return err
}

// holderOf is what who took the lock of a run last said of himself.
func holderOf(ctx context.Context, conn *sql.Conn, run string) (string, error) {
	var holder string
	var since time.Time
	switch err := conn.QueryRowContext(ctx, "SELECT holder, since FROM locks WHERE run = $1", run).Scan(&holder, &since); {
	case errors.Is(err, sql.ErrNoRows):
		return "a process that does not say who it is", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("%s, since %s", holder, since.Local().Format(time.DateTime)), nil
}

// Holder says which process executes a run, wherever it is; "" for none.
func (s *Store) Holder(ctx context.Context, run string) (holder string, err error) {
	return holder, (database{s}).Read(ctx, func(tx sqlstore.Tx) error {
		holder = ""
		var schema string
		if err := tx.Conn.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
			return err
		}
		held, of := false, uint64(key(schema, "run "+run))
		// https://www.postgresql.org/docs/current/view-pg-locks.html: a key is shown in halves.
		if err := tx.Conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND classid::bigint = $1 AND objid::bigint = $2)`, int64(of>>32), int64(of&0xffffffff)).Scan(&held); err != nil || !held {
			return err
		}
		var err error
		holder, err = holderOf(ctx, tx.Conn, run)
		return err
	})
}

// leave gives the locks back, and forgets what is known of this Store. It is not needed
// for others to go on: the locks go with the connection, and the rest with time.
func (s *Store) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for run := range s.held {
		_, _ = s.conn.ExecContext(ctx, "DELETE FROM locks WHERE run = $1", run)
	}
	_, _ = s.conn.ExecContext(ctx, "SELECT pg_advisory_unlock_all()")
	_, _ = s.conn.ExecContext(ctx, "DELETE FROM writers WHERE writer = $1 OR written < now() - interval '30 days'", s.writer)
}
