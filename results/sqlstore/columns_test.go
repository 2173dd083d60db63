package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"stackmeter/results"
)

// TestCutShortIsNoDamage ends the context between two rows: that is no damage.
func TestCutShortIsNoDamage(t *testing.T) {
	db, err := sql.Open("sqlite", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	_, err = query(ctx, Tx{conn, &Dialect{}}, func(id *string) []column {
		if asked++; asked == 2 { // for the values of the first row
			cancel()
			time.Sleep(200 * time.Millisecond)
		}
		return []column{{"x", id}}
	}, "(SELECT 'a' AS x UNION ALL SELECT 'b')")
	if !errors.Is(err, context.Canceled) || errors.Is(err, results.ErrDamaged) {
		t.Error(err)
	}
}
