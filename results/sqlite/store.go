// Package sqlite keeps runs and their records in one SQLite file.
//
// Every write is one transaction and is on disk when the method returns, so
// that a run keeps every finished cell whenever it is killed. The journal is a
// rollback journal (journal_mode=DELETE), not a write-ahead log. A cell is
// written every few seconds, so speed does not matter. With a rollback journal
// the store is a single file whenever nothing is being written; it can be
// copied as it is, read without permission to write, and kept on a network file
// system, where a log's shared memory does not work. synchronous is EXTRA:
// with this journal FULL does not sync the removal of the journal that ends a
// commit.
// See https://www.sqlite.org/pragma.html#pragma_synchronous and
// https://www.sqlite.org/wal.html.
//
// A file that is not a store, is damaged, or was written by a newer stackmeter
// is refused and left as it is, byte for byte. One that an older stackmeter
// wrote is migrated by the first process that writes to it, and by none that
// only reads.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	driver "modernc.org/sqlite" // pure Go: the store needs no C compiler, and go-nvml stays the only cgo
	lib "modernc.org/sqlite/lib"

	"stackmeter/results"
	"stackmeter/results/sqlstore"
)

// How long another process's transaction is waited for. Ours take milliseconds; a
// longer one is held open by someone.
const (
	busyTimeout = time.Second      // by one try
	patience    = 30 * time.Second // by all tries, unless WaitForLocks says otherwise
	tellAfter   = 3 * time.Second  // by all tries, before somebody is told
)

// cheapCheck is the largest file, in bytes, that is checked whenever it is read:
// that takes a second or two.
const cheapCheck = 256 << 20

// A Store is a results.Store in a file. Several processes may use the file.
type Store struct {
	*sqlstore.Store
	db       *sql.DB
	path     string
	name     string   // what SQLite opens it by
	steps    []string // of the schema
	readOnly bool
	older    *older // nil unless the store is read and has an older schema
	damage   error  // what the check of a store to read found; nil: nothing

	mu     sync.Mutex      // of what follows
	file   os.FileInfo     // that was opened; nil before that
	while  context.Context // see WaitForLocks; nil: for as long as patience
	told   func(string)
	locked atomic.Int32 // how many wait for a lock
}

// dialect is how SQLite says what not all databases say in the same words.
var dialect = sqlstore.Dialect{
	Columns: "SELECT name FROM pragma_table_info('cells')",
	Spent:   "(SELECT nullif(json_group_object(phase, seconds), '{}') FROM spent WHERE run = id)",
	Tags:    "(SELECT nullif(json_group_array(tag ORDER BY tag), '[]') FROM tags WHERE run = id)",
	Whole:   "INTEGER",
	Real:    "REAL",
}

// txOf is a transaction on a connection.
func txOf(conn *sql.Conn) sqlstore.Tx { return sqlstore.Tx{Conn: conn, Dialect: &dialect} }

// Open opens the store at path for reading and writing. It makes the store if
// there is no file or an empty one, and migrates a store that an older
// stackmeter wrote. The folder has to exist. Open first rolls back what a killed
// process left half written and then checks the whole file; one that fails the
// check (ErrForeign, ErrNewer, ErrDamaged) is not written to.
func Open(ctx context.Context, path string) (*Store, error) {
	return openToWrite(ctx, path, schema())
}

func openToWrite(ctx context.Context, path string, steps []string) (*Store, error) {
	return open(ctx, path, false, steps, (*Store).prepare)
}

// OpenInMemory opens an empty store that nobody else sees. It ends with Close.
func OpenInMemory(ctx context.Context) (*Store, error) {
	store := newStore(&Store{db: temporary(), path: "in memory", steps: schema()})
	if err := migrate(ctx, store.db, store.steps); err != nil {
		return nil, errors.Join(store.explain(err), store.Close())
	}
	return store, nil
}

// temporary is an empty database without a name. SQLite holds it in memory until
// it outgrows the cache, and then in an unlinked file, of which nothing is left
// even where the process is killed.
// See https://www.sqlite.org/inmemorydb.html#temp_db.
func temporary() *sql.DB {
	db, _ := sql.Open("sqlite", "") // which only looks up the driver
	db.SetMaxOpenConns(1)           // each connection would have a database of its own
	return db
}

// OpenReadOnly opens the store at path for reading; every method that writes
// fails. The file has to exist. It is checked if that is cheap, or if somebody was
// killed while he wrote to it. Where the check finds damage, every method that
// reads returns ErrDamaged, Run with what is readable. While another
// process writes, the reader sees what it has finished. A store that an older
// stackmeter wrote is read through a copy in the current schema; its file stays
// as it is.
func OpenReadOnly(ctx context.Context, path string) (*Store, error) {
	return openToRead(ctx, path, schema())
}

func openToRead(ctx context.Context, path string, steps []string) (*Store, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("store %s: %w; `stackmeter run` makes one, --db names another", path, fs.ErrNotExist)
	}
	_, journal := os.Stat(path + "-journal") // which the first read rolls back
	toCheck := journal == nil || err == nil && info.Size() <= cheapCheck
	return open(ctx, path, true, steps, func(store *Store, ctx context.Context) error {
		version, current, err := store.version(ctx)
		if err == nil && version == 0 {
			err = results.ErrForeign
		}
		if err != nil {
			return err
		}
		if !current {
			store.older = new(older)
		}
		if !toCheck {
			return nil
		}
		store.damage = store.explain(transaction(ctx, store.db, "BEGIN", func(tx sqlstore.Tx) error { return store.check(ctx, tx.Conn) }))
		if errors.Is(store.damage, results.ErrDamaged) {
			return nil
		}
		return store.damage
	})
}

// open opens a file and calls ready, again where another process has a lock.
func open(ctx context.Context, path string, readOnly bool, steps []string, ready func(*Store, context.Context) error) (*Store, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("store %s: not a regular file; --db names another", path)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	if info, err := os.Stat(filepath.Dir(absolute)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("store %s: its folder: %w; make it first, or name another file with --db", path, fs.ErrNotExist)
	}
	query := url.Values{
		"mode":    {"rwc"},
		"_pragma": {fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "foreign_keys(1)", "synchronous(EXTRA)"},
	}
	if readOnly {
		// Not mode=ro: SQLite has to be able to roll back what a killed process
		// left half written. query_only forbids everything else, and a file
		// without permission to write is opened read-only all the same.
		query.Set("mode", "rw")
		query.Add("_pragma", "query_only(1)")
	}
	name := "file:" + (&url.URL{Path: absolute}).EscapedPath() + "?" + query.Encode()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	// With one connection the transactions of this process queue here instead
	// of waiting for each other's locks.
	db.SetMaxOpenConns(1)
	store := newStore(&Store{db: db, path: path, name: name, readOnly: readOnly, steps: steps})
	err = store.patiently(ctx, func() error { return ready(store, ctx) })
	if err == nil {
		store.file, err = os.Stat(path)
	}
	if err != nil {
		return nil, errors.Join(store.explain(err), store.Close())
	}
	return store, nil
}

// newStore gives a store its methods of a results.Store.
func newStore(store *Store) *Store {
	store.Store = sqlstore.New(file{store})
	return store
}

// Close writes what Spent held back and closes the store, of which only its file
// is left.
func (s *Store) Close() error {
	err := errors.Join(s.Flush(context.Background()), s.db.Close())
	if s.older != nil {
		s.older.mu.Lock()
		defer s.older.mu.Unlock()
		err = errors.Join(err, s.older.close())
	}
	return err
}

// A file is the database of a Store.
type file struct{ *Store }

// Writable says that a store is open for reading only.
func (f file) Writable() error {
	if f.readOnly {
		return fmt.Errorf("store %s: opened for reading only", f.path)
	}
	return nil
}

// Write runs do in a transaction. BEGIN IMMEDIATE takes the lock at once, so that a
// transaction waits for another process at its start and never fails halfway because
// of it.
func (f file) Write(ctx context.Context, do func(sqlstore.Tx) error) error {
	if err := f.Writable(); err != nil {
		return err
	}
	if err := f.moved(); err != nil {
		return f.explain(err)
	}
	return f.explain(f.transact(ctx, "BEGIN IMMEDIATE", do))
}

// Read runs do in a transaction that sees one moment.
func (f file) Read(ctx context.Context, do func(sqlstore.Tx) error) error {
	var err error
	if f.older != nil {
		err = f.patiently(ctx, func() error { return f.readOlder(ctx, do) })
	} else {
		err = f.transact(ctx, "BEGIN", do)
	}
	// Who writes goes on reading a file that was moved: it has the records.
	if err == nil && f.readOnly {
		err = f.moved()
	}
	if f.damage != nil {
		return f.damage // what else went wrong followed from it
	}
	return f.explain(err)
}

// transact does a transaction, which does nothing but for its effect on the
// store: it may be done again where another process has a lock.
func (s *Store) transact(ctx context.Context, begin string, do func(sqlstore.Tx) error) error {
	return s.patiently(ctx, func() error { return transaction(ctx, s.db, begin, do) })
}

func transaction(ctx context.Context, db *sql.DB, begin string, do func(sqlstore.Tx) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, begin); err != nil {
		return err
	}
	err = do(txOf(conn))
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		// This fails where SQLite has rolled back by itself already.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}

// explain names the file, and says what to do where a user can do something.
func (s *Store) explain(err error) error {
	if err == nil {
		return nil
	}
	kind := err
	if moved := s.moved(); moved != nil {
		kind, err = moved, moved // SQLite has other words for that, by what it met first
	}
	if sqliteErr := (*driver.Error)(nil); errors.As(err, &sqliteErr) {
		switch sqliteErr.Code() & 0xff {
		case lib.SQLITE_NOTADB:
			kind = results.ErrForeign
		case lib.SQLITE_CORRUPT:
			kind = results.ErrDamaged
		case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
			kind = results.ErrBusy
			if who := s.holder(); who != "" {
				err = fmt.Errorf("%w%s", results.ErrBusy, who)
			}
		case lib.SQLITE_FULL:
			return fmt.Errorf("store %s: the disk is full; what was finished before is kept: %w", s.path, err)
		case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN:
			return fmt.Errorf("store %s: no permission to write to the file or its folder: %w", s.path, err)
		}
		if !errors.Is(err, kind) {
			err = fmt.Errorf("%w (%v)", kind, err)
		}
	}
	switch {
	case errors.Is(kind, errEarly):
		return fmt.Errorf("store %s: %w; it was left as it is, name another file with --db (the version that wrote it can report its runs as JSON, for stackmeter import)", s.path, err)
	case errors.Is(kind, results.ErrForeign):
		return fmt.Errorf("store %s: %w; it was left as it is, name another file with --db", s.path, err)
	case errors.Is(kind, results.ErrNewer):
		return fmt.Errorf("store %s: %w; it was left as it is, use that version or name another file with --db", s.path, err)
	case errors.Is(kind, results.ErrDamaged):
		return fmt.Errorf("store %s: %w; it was left as it is: keep a copy, and move it away or name another file with --db to go on. `stackmeter report RUN --format json` writes what it can read of a run, `sqlite3 FILE .recover` may read more", s.path, err)
	case errors.Is(kind, results.ErrBusy):
		return fmt.Errorf("store %s: %w; close whatever holds a transaction on it open (a database browser?) and try again", s.path, err)
	case errors.Is(kind, results.ErrMoved):
		return fmt.Errorf("store %s: %w; put it back, or name where it is with --db", s.path, err)
	}
	return fmt.Errorf("store %s: %w", s.path, err)
}
