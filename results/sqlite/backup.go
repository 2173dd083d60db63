package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Backup writes a copy of the store as it is at one moment to a file that must
// not exist yet. Whoever writes to the store meanwhile waits while it is read,
// some milliseconds for each megabyte. When Backup returns nil the copy is whole
// and on disk; otherwise there is none.
func (s *Store) Backup(ctx context.Context, file string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up store %s to %s: %w", s.path, file, err)
		}
	}()
	if err := errors.Join(s.Flush(ctx), s.damage); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(filepath.Dir(file), ".stackmeter-backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	// https://www.sqlite.org/lang_vacuum.html#vacuuminto
	part := filepath.Join(folder, "part.db")
	if err := s.patiently(ctx, func() error { return s.vacuumInto(ctx, part) }); err != nil {
		return s.explain(err)
	}
	// A rename would replace a file that is there; a link does not.
	if err := os.Link(part, file); errors.Is(err, os.ErrExist) {
		return errors.New("there is a file of that name already, and backups are not overwritten; name another, with the date for example")
	} else if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(file))
}

// vacuumInto only reads the store, but SQLite counts that as writing, so that a
// connection for reading has to allow it.
func (s *Store) vacuumInto(ctx context.Context, file string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.readOnly {
		if _, err := conn.ExecContext(ctx, "PRAGMA query_only=0"); err != nil {
			return err
		}
		defer conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA query_only=1")
	}
	_, err = conn.ExecContext(ctx, "VACUUM INTO ?", file)
	return err
}

// syncFolder syncs the entries of a folder to disk.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
