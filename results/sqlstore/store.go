// Package sqlstore is what the stores in SQL databases share: the columns of runs
// and records, and the statements that write and read them. What one database does
// otherwise than another is its Database and its Dialect.
package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
)

// A Database is where a Store has its tables.
type Database interface {
	// Write runs do in a transaction. When it returns nil, all that do wrote is on
	// disk; otherwise nothing is. It may run do more than once.
	Write(ctx context.Context, do func(Tx) error) error

	// Read runs do in a transaction that sees one moment. It may run do more than
	// once.
	Read(ctx context.Context, do func(Tx) error) error

	// Writable says why Write would fail whatever it is to write; nil: it may.
	Writable() error
}

// A Dialect is how a database says what not all say in the same words.
type Dialect struct {
	Numbered bool // values of a statement stand as $1, $2 and so on, not as ?

	Columns string // a query for the names of the columns of cells
	Spent   string // an expression: the phases of the run id with their seconds as a JSON object; NULL for none
	Tags    string // an expression: the tags of the run id as a JSON list, sorted; NULL for none
	Whole   string // the type of a column of whole numbers
	Real    string // the type of a column of numbers
}

// A Tx is a transaction.
type Tx struct {
	Conn    *sql.Conn
	Dialect *Dialect
}

func (tx Tx) exec(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	return tx.Conn.ExecContext(ctx, tx.Dialect.says(statement), inUTF8(args)...)
}

func (tx Tx) query(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	return tx.Conn.QueryContext(ctx, tx.Dialect.says(statement), inUTF8(args)...)
}

func (tx Tx) queryRow(ctx context.Context, statement string, args ...any) *sql.Row {
	return tx.Conn.QueryRowContext(ctx, tx.Dialect.says(statement), inUTF8(args)...)
}

// says writes a statement, in which ? stands for nothing but a value.
func (d *Dialect) says(statement string) string {
	if !d.Numbered {
		return statement
	}
	parts := strings.Split(statement, "?")
	var b strings.Builder
	for i, part := range parts[:len(parts)-1] {
		fmt.Fprintf(&b, "%s$%d", part, i+1)
	}
	return b.String() + parts[len(parts)-1]
}

// inUTF8 makes text of values what every database takes: UTF-8 without NUL. What any
// program printed need be neither.
func inUTF8(values []any) []any {
	clean := make([]any, len(values))
	for i, v := range values {
		if pointer, is := v.(*string); is {
			v = *pointer
		}
		if of, is := v.(driver.Valuer); is {
			v = valuer{of}
		}
		if text, is := v.(string); is {
			v = cleanText(text)
		}
		clean[i] = v
	}
	return clean
}

func cleanText(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// A valuer is a value whose text is in UTF-8.
type valuer struct{ of driver.Valuer }

func (v valuer) Value() (driver.Value, error) {
	value, err := v.of.Value()
	if text, is := value.(string); is {
		value = cleanText(text)
	}
	return value, err
}

// A Store has the methods of a results.Store but Close, over a Database.
type Store struct {
	db Database

	writing sync.Mutex                    // held while a transaction writes
	spent   map[string]map[string]float64 // seconds by run and phase, not written yet
}

// New returns a store over a database.
func New(db Database) *Store { return &Store{db: db} }

// write runs do and writes what Spent held back, in one transaction.
func (s *Store) write(ctx context.Context, do func(Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.db.Write(ctx, func(tx Tx) error {
		for run, phases := range s.spent {
			if err := addSpent(ctx, tx, run, phases); err != nil {
				return err
			}
		}
		return do(tx)
	})
	if err == nil {
		s.spent = nil
	}
	return err
}

// Flush writes what Spent held back.
func (s *Store) Flush(ctx context.Context) error {
	s.writing.Lock()
	pending := len(s.spent)
	s.writing.Unlock()
	if pending == 0 {
		return nil
	}
	return s.write(ctx, func(Tx) error { return nil })
}

// read runs do in one transaction, so that it sees one moment.
func (s *Store) read(ctx context.Context, do func(Tx) error) error {
	// A full disk does not keep anyone from reading. What could not be written
	// stays held back, and Close reports it.
	_ = s.Flush(ctx)
	return s.db.Read(ctx, do)
}
