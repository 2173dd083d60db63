package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// A lost is the error of a connection that could not be made, or is gone.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

func isLost(err error) bool {
	_, is := errors.AsType[lost](err)
	return is
}

// gone reports whether a connection is closed, as after any failure to send or receive.
func gone(conn *sql.Conn) bool {
	closed := true
	_ = conn.Raw(func(raw any) error {
		closed = raw.(*stdlib.Conn).Conn().IsClosed()
		return nil
	})
	return closed
}

// discard closes a connection for good, instead of giving it back to others.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}

// passing reports whether the same may work soon: the server restarts, or somebody else
// was faster. See https://www.postgresql.org/docs/current/errcodes-appendix.html.
func passing(err error) bool {
	if said, is := errors.AsType[*pgconn.PgError](err); is {
		switch said.Code {
		case "40001", "40P01": // serialization_failure, deadlock_detected
			return true
		case "53300": // too_many_connections
			return true
		case "57P01", "57P02", "57P03": // admin_shutdown, crash_shutdown, cannot_connect_now
			return true
		case "25P03", "57P05": // idle_in_transaction_session_timeout, idle_session_timeout
			return true
		}
		return said.Code[:2] == "08"
	}
	return isLost(err)
}

// WaitForLocks makes the store try a server that does not answer again for minutes until
// ctx is over, instead of some seconds, and for a second from then on: for what nobody
// can do again. Each wait that is not over soon is told once.
func (s *Store) WaitForLocks(ctx context.Context, told func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.while, s.told = ctx, told
}

// Locked reports whether somebody waits for the server.
func (s *Store) Locked() bool { return s.locked.Load() > 0 }

// patiently tries again what may work soon.
func (s *Store) patiently(ctx context.Context, try func() error) error {
	s.mu.Lock()
	while, told, limit := s.while, s.told, runPatience
	s.mu.Unlock()
	switch {
	case while == nil:
		while, limit = ctx, patience
	case while.Err() != nil:
		while, limit = ctx, endPatience
	}
	began, waiting := time.Now(), false
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := try()
		if err == nil || !passing(err) || ctx.Err() != nil || while.Err() != nil {
			return err
		}
		since := time.Since(began)
		if since > limit {
			return fmt.Errorf("%w (it was tried for %v)", err, since.Round(time.Second))
		}
		if !waiting {
			waiting = true
			s.locked.Add(1)
			defer s.locked.Add(-1)
		}
		if told != nil && since > tellAfter {
			told(fmt.Sprintf("the store %s does not answer (%s); trying for up to %v", s.name, scrub(reason(err), s.secrets), limit))
			told = nil
		}
		select {
		case <-time.After(pause):
		case <-while.Done():
		case <-ctx.Done():
		}
	}
}
