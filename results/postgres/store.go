// Package postgres keeps runs and their records in a PostgreSQL database that a team
// shares. The tables and columns are those of package sqlite.
//
// It goes through database/sql, with pgx as the driver, and not through pgx itself: so
// the columns and statements of package sqlstore serve both stores.
//
// Every write is one transaction, and none is done twice: each carries a number, and
// where a connection is lost before the answer to COMMIT has come, the number says
// whether it was done. All writes of a Store go over one connection, which also holds
// the locks of the runs that its process executes (pg_advisory_lock). So nothing is
// written to a run whose lock was lost with the connection: on the next one the lock is
// taken again first, and whoever has it meanwhile is named. What a lock needs of the
// server is a session: a pooler in front of it has to pool sessions, not transactions.
package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"stackmeter/results"
	"stackmeter/results/sqlstore"
)

// How long a server that does not answer is tried again: the restart of one takes
// seconds.
const (
	patience    = 10 * time.Second // unless WaitForLocks says otherwise
	runPatience = 5 * time.Minute
	endPatience = time.Second // once the run is over: who interrupted it waits
	tellAfter   = 3 * time.Second
	connectTime = 10 * time.Second // for one try, unless the URL has connect_timeout
)

// mostReads is how many transactions of this process read at once.
const mostReads = 8

// A Store is a results.Store in a database. Several processes may use the database.
type Store struct {
	*sqlstore.Store
	db       *sql.DB
	name     string // the URL without passwords
	secrets  []string
	user     string // of the database
	readOnly bool
	steps    []string // of the schema

	mu     sync.Mutex      // of what follows
	while  context.Context // see WaitForLocks
	told   func(string)
	locked atomic.Int32 // how many wait for the server

	session sync.Mutex        // of what follows, and held while a transaction writes
	conn    *sql.Conn         // nil: none at present
	backend backend           // of the server, for conn or the last one
	held    map[string]string // who says of himself that he executes these runs
	writer  string            // this Store among all that ever wrote
	wrote   int64             // the number of the last write that was begun
	closed  bool
}

// A backend is a process of the server, the one that a connection is to.
type backend struct {
	pid     int
	started string
}

// dialect is how PostgreSQL says what not all databases say in the same words.
var dialect = sqlstore.Dialect{
	Numbered: true,
	Columns:  "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('cells') AND attnum > 0 AND NOT attisdropped",
	Spent:    "(SELECT json_object_agg(phase, seconds) FROM spent WHERE run = id)",
	Tags:     `(SELECT json_agg(tag ORDER BY tag) FROM tags WHERE run = id)`,
	Whole:    "bigint",
	Real:     "double precision",
}

// Open opens the store of a database for reading and writing. It makes the tables if
// there are none, in the first schema of the search path, and migrates those that an
// older stackmeter made. Those that are not a store's (ErrForeign) or a newer one's
// (ErrNewer) are left as they are.
func Open(ctx context.Context, url string) (*Store, error) {
	return open(ctx, url, false, schema())
}

// OpenReadOnly opens the store of a database for reading; every method that writes
// fails. A role that may only SELECT from the tables can. They have to be there, in
// the schema of this stackmeter.
func OpenReadOnly(ctx context.Context, url string) (*Store, error) {
	return open(ctx, url, true, schema())
}

func open(ctx context.Context, url string, readOnly bool, steps []string) (*Store, error) {
	config, err := configure(url)
	if err != nil {
		return nil, err
	}
	if readOnly {
		config.RuntimeParams["default_transaction_read_only"] = "on"
	}
	s := &Store{
		db: stdlib.OpenDB(*config), name: Name(url), secrets: append(secretsOf(url), config.Password), user: config.User, readOnly: readOnly,
		steps: steps, held: map[string]string{}, writer: rand.Text(),
	}
	s.Store = sqlstore.New(database{s})
	s.db.SetMaxOpenConns(1 + mostReads)
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(s.explain(err), s.Close())
	}
	return s, nil
}

// configure reads a URL, and what pgx reads besides: PGPASSWORD and other variables of
// libpq, ~/.pgpass and service files.
func configure(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w: %s", Name(url), ErrName, scrub(reason(err), secretsOf(url)))
	}
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, connectTime)
	config.DialFunc = dialer(config.ConnectTimeout).DialContext
	for name, value := range map[string]string{
		"application_name": "stackmeter",
		// A transaction whose client is gone, which the server may not notice for
		// hours, holds no row for longer than this.
		"idle_in_transaction_session_timeout": "60s",
		// A client whose machine is gone, and that says nothing, loses its session and
		// with it the locks of its runs after 25 seconds.
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
	} {
		if _, said := config.RuntimeParams[name]; !said {
			config.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// Close writes what Spent held back, gives the locks back and closes the store. It may
// be called more than once.
func (s *Store) Close() error {
	err := s.Flush(context.Background())
	s.session.Lock()
	defer s.session.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.conn != nil {
		s.leave(context.Background())
		_ = s.conn.Close()
	}
	return errors.Join(err, s.db.Close())
}

// A database is the database of a Store.
type database struct{ *Store }

// Writable says that a store is open for reading only.
func (d database) Writable() error {
	if d.readOnly {
		return fmt.Errorf("store %s: opened for reading only", d.name)
	}
	return nil
}

// Write runs do in a transaction. Repeatable reads, because what was looked at has to be
// there still when it is written over: who was slower than another does it again.
func (d database) Write(ctx context.Context, do func(sqlstore.Tx) error) error {
	if err := d.Writable(); err != nil {
		return err
	}
	d.session.Lock()
	defer d.session.Unlock()
	d.wrote++
	return d.explain(d.patiently(ctx, func() error {
		conn, err := d.connected(ctx)
		if err != nil {
			return err
		}
		err = transaction(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ", func(tx sqlstore.Tx) error {
			first, err := d.number(ctx, tx)
			if err != nil || !first {
				return err
			}
			return do(tx)
		})
		if isLost(err) {
			d.drop()
		}
		return err
	}))
}

// number enters the number of a write, and reports whether it was not there yet. The
// row belongs to this Store: where the transaction of a lost connection still goes on,
// this waits until that has ended.
func (s *Store) number(ctx context.Context, tx sqlstore.Tx) (first bool, err error) {
	result, err := tx.Conn.ExecContext(ctx, `INSERT INTO writers (writer, wrote, written) VALUES ($1, $2, now())
		ON CONFLICT (writer) DO UPDATE SET wrote = excluded.wrote, written = now() WHERE writers.wrote < excluded.wrote`, s.writer, s.wrote)
	if err != nil {
		return false, err
	}
	changed, err := result.RowsAffected()
	return changed == 1, err
}

// Read runs do in a transaction that sees one moment.
func (d database) Read(ctx context.Context, do func(sqlstore.Tx) error) error {
	return d.explain(d.patiently(ctx, func() error {
		conn, err := d.db.Conn(ctx)
		if err != nil {
			return lost{err}
		}
		defer conn.Close()
		return transaction(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", do)
	}))
}

// transaction runs do in a transaction. The error of a connection that is lost is lost.
func transaction(ctx context.Context, conn *sql.Conn, begin string, do func(sqlstore.Tx) error) error {
	_, err := conn.ExecContext(ctx, begin)
	if err == nil {
		err = do(sqlstore.Tx{Conn: conn, Dialect: &dialect})
		if err == nil {
			_, err = conn.ExecContext(ctx, "COMMIT")
		}
	}
	if err == nil {
		return nil
	}
	if gone(conn) {
		return lost{err}
	}
	// The connection goes on being used.
	if _, failed := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); failed != nil {
		return lost{err}
	}
	return err
}

// connected is the connection of all writes, with the locks of the runs that this
// process executes.
func (s *Store) connected(ctx context.Context) (*sql.Conn, error) {
	if s.closed {
		return nil, results.ErrMoved
	}
	if s.conn != nil {
		return s.conn, nil
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, lost{err}
	}
	err = s.take(ctx, conn)
	if err != nil {
		if gone(conn) {
			err = lost{err}
		}
		discard(conn)
		return nil, err
	}
	s.conn = conn
	return conn, nil
}

// drop forgets a connection that is lost.
func (s *Store) drop() {
	if s.conn != nil {
		discard(s.conn)
		s.conn = nil
	}
}
