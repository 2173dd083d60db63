package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	driver "modernc.org/sqlite"

	"stackmeter/results/sqlstore"
)

// older reads a store of an older schema through a copy that went through the
// missing steps. Reading must not change the file itself: it may be on a full
// disk, be somebody else's, or be written by the older stackmeter right now.
type older struct {
	mu   sync.Mutex // held while the copy is read
	copy *sql.DB    // nil before the first read
	seen int64      // the file's data_version when it was copied
}

// readOlder runs do in one transaction on the copy. It copies the file again
// where that has changed.
func (s *Store) readOlder(ctx context.Context, do func(sqlstore.Tx) error) error {
	s.older.mu.Lock()
	defer s.older.mu.Unlock()
	// https://www.sqlite.org/pragma.html#pragma_data_version
	var version int64
	if err := s.db.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version); err != nil {
		return err
	}
	if s.older.copy == nil || s.older.seen != version {
		made, err := s.migratedCopy(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(s.older.close(), ctx.Err()); err != nil {
			return errors.Join(err, made.Close())
		}
		s.older.copy, s.older.seen = made, version
	}
	return transaction(ctx, s.older.copy, "BEGIN", do)
}

// migratedCopy copies the file as it is at one moment and brings the copy to the
// current schema. It copies whole pages, so that of a damaged store as much can
// be read as of a current one.
func (s *Store) migratedCopy(ctx context.Context) (_ *sql.DB, err error) {
	made := temporary()
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("copy it to read it in the current schema: %w", err), made.Close())
		}
	}()
	conn, err := made.Conn(ctx)
	if err != nil {
		return nil, err
	}
	err = conn.Raw(func(raw any) error {
		backup, err := raw.(interface {
			NewRestore(from string) (*driver.Backup, error)
		}).NewRestore(s.name)
		if err != nil {
			return err
		}
		_, err = backup.Step(-1) // all pages
		return errors.Join(err, backup.Finish())
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		return nil, err
	}
	return made, migrate(ctx, made, s.steps)
}

func (o *older) close() error {
	if o.copy == nil {
		return nil
	}
	err := o.copy.Close()
	o.copy = nil
	return err
}
