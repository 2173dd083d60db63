package postgres_test

import (
	"database/sql"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/postgres"
	"stackmeter/results/postgres/pgtest"
	"stackmeter/results/sqlite"
	"stackmeter/results/storetest"
)

func openStore(t *testing.T, url string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func begin(t *testing.T, store results.Store, id string) {
	t.Helper()
	if err := store.Begin(t.Context(), results.Run{ID: id, Scenario: "nightly", Started: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
}

// TestStore runs the conformance suite.
func TestStore(t *testing.T) {
	server := pgtest.Start(t)
	urls := map[results.Store]string{}
	storetest.Run(t, storetest.Bench{
		Open: func(t *testing.T) results.Store {
			url := server.Database()
			store := openStore(t, url)
			urls[store] = url
			return store
		},
		Again: func(t *testing.T, store results.Store) results.Store { return openStore(t, urls[store]) },
	})
}

// TestSameColumns: both stores have the same tables and columns, but for those that only
// a server needs.
func TestSameColumns(t *testing.T) {
	server := pgtest.Start(t)
	url := server.Database()
	openStore(t, url)
	conn := server.Connect(url)
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		if column != "rowid" { // which SQLite has without a column
			tables[table] = append(tables[table], column)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{"stackmeter", "locks", "writers"} {
		if len(tables[own]) == 0 {
			t.Errorf("there is no table %s", own)
		}
		delete(tables, own)
	}
	path := filepath.Join(t.TempDir(), "s.db")
	store, err := sqlite.Open(t.Context(), path)
	if err == nil {
		err = store.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	of, err := db.Query("SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	defer of.Close()
	want := map[string][]string{}
	for of.Next() {
		var table, column string
		if err := of.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		want[table] = append(want[table], column)
	}
	if err := of.Err(); err != nil {
		t.Fatal(err)
	}
	for _, columns := range []map[string][]string{tables, want} {
		for _, names := range columns {
			slices.Sort(names)
		}
	}
	if len(want["cells"]) == 0 || !maps.EqualFunc(tables, want, slices.Equal) {
		t.Errorf("PostgreSQL has %v\nSQLite has %v", tables, want)
	}
}

// TestReader: a role that may only read reads everything, and nothing else.
func TestReader(t *testing.T) {
	ctx, server := t.Context(), pgtest.Start(t)
	url := server.Database()
	store := openStore(t, url)
	begin(t, store, "one")
	if err := errors.Join(store.Put(ctx, storetest.Record("one", results.StatusOK, 1)), store.Tag(ctx, "one", "gold"),
		store.Spent(ctx, "one", results.PhaseMeasure, time.Second), store.Lock(ctx, "one", "process 1 of me on here")); err != nil {
		t.Fatal(err)
	}
	server.Exec(url, "CREATE ROLE reader LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
	as := strings.Replace(url, "user=stackmeter", "user=reader", 1)
	reader, err := postgres.OpenReadOnly(ctx, as)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	run, records, err := reader.Run(ctx, "gold")
	if err != nil || run.ID != "one" || len(records) != 1 {
		t.Errorf("%+v with %d records (%v)", run, len(records), err)
	}
	if runs, err := reader.Runs(ctx, results.Scope{}, 0); err != nil || len(runs) != 1 {
		t.Errorf("%d runs (%v)", len(runs), err)
	}
	if _, observed, err := reader.History(ctx, "", "", results.MetricDuration, 5); err != nil || len(observed) != 1 {
		t.Errorf("%d observations (%v)", len(observed), err)
	}
	if holder, err := reader.Holder(ctx, "one"); err != nil || !strings.HasPrefix(holder, "process 1 of me on here, since ") {
		t.Errorf("executed by %q (%v)", holder, err)
	}
	for name, err := range map[string]error{
		"put": reader.Put(ctx, storetest.Record("one", results.StatusOK, 2)), "tag": reader.Tag(ctx, "one", "silver"),
		"spent": reader.Spent(ctx, "one", results.PhaseStop, time.Second), "lock": reader.Lock(ctx, "one", "me"),
	} {
		if err == nil || !strings.Contains(err.Error(), "for reading only") {
			t.Errorf("%s: %v", name, err)
		}
	}
	writer, err := postgres.Open(ctx, as)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := writer.Tag(ctx, "one", "silver"); err == nil || !strings.Contains(err.Error(), "user reader may not do that") {
		t.Errorf("a role that may only read, opened to write: %v", err)
	}
}

// TestOpenRefuses: what leads to no store, or to one that this version cannot use, is
// refused with what to do, left as it is, and without a password.
func TestOpenRefuses(t *testing.T) {
	ctx, server := t.Context(), pgtest.Start(t)
	foreign, newer, older := server.Database(), server.Database(), server.Database()
	server.Exec(foreign, "CREATE TABLE runs (miles integer)")
	openStore(t, newer)
	server.Exec(newer, "UPDATE stackmeter SET version = 99")
	openStore(t, older)
	server.Exec(older, "ALTER TABLE cells DROP COLUMN throughput_rps")
	server.Exec("postgres", "CREATE ROLE guest LOGIN PASSWORD 'right'", "CREATE DATABASE closed", "ALTER ROLE guest SET search_path = pg_catalog")
	server.Exec("closed", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	none := server.Database()
	for _, test := range []struct {
		name, url string
		reading   bool
		want      error
		says      string
	}{
		{"another program's tables", foreign, false, results.ErrForeign, "CREATE SCHEMA"},
		{"another program's tables, to read", foreign, true, results.ErrForeign, "CREATE SCHEMA"},
		{"newer", newer, false, results.ErrNewer, "left as it is"},
		{"newer, to read", newer, true, results.ErrNewer, "left as it is"},
		{"older, to read", older, true, nil, "once they are migrated"},
		{"no tables, to read", none, true, postgres.ErrName, "`stackmeter run` makes them"},
		{"no database", server.URL("nosuch", "stackmeter"), false, postgres.ErrName, "createdb"},
		{"no schema", none + "&search_path=nosuch", false, postgres.ErrName, "no schema of the search path"},
		{"a schema that others own", server.URL("closed", "guest") + "&search_path=public", false, nil, "user guest may not do that"},
		{"no server", pgtest.URLAt("/nonexistent", "db", "me") + "&password=SECRET1", false, nil, "see whether the server runs"},
		{"no role", server.URL("postgres", "nobody"), false, nil, "PGPASSWORD or ~/.pgpass"},
		{"no port", "postgres://me:SECRET1@127.0.0.1:SECRET2/db?password=SECRET3", false, postgres.ErrName, "no store"},
		{"a wrong setting", "postgres://me:SECRET%201@127.0.0.1:1/db?sslmode=nosuch", false, postgres.ErrName, "sslmode"},
		{"nobody there", "postgres://me:SECRET1@127.0.0.1:1/db?connect_timeout=2", false, nil, "see whether the server runs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			open := postgres.Open
			if test.reading {
				open = postgres.OpenReadOnly
			}
			store, err := open(ctx, test.url)
			if err == nil {
				store.Close()
				t.Fatal("opened")
			}
			if test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), postgres.Name(test.url)) {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("it shows a password: %v", err)
			}
		})
	}
	var tables int
	conn := server.Connect(none)
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("what was refused made %d tables (%v)", tables, err)
	}
}

// TestName: no password is in a name.
func TestName(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://me:SECRET@h:5433/db?sslmode=require":                     "postgres://me@h:5433/db?sslmode=require",
		"postgresql://h/db?password=SECRET&search_path=a&sslpassword=SECRET": "postgresql://h/db?search_path=a",
		"postgres:///db?PassWord=SECRET":                                     "postgres:///db",
		"postgres://me:SECRET%zz@h/db":                                       "postgres://…",
		"postgres://h:SECRET/db":                                             "postgres://…",
		"postgres:///db?host=/run/a&user=me#SECRET":                          "postgres:///db?host=/run/a&user=me",
	} {
		if got := postgres.Name(url); got != want {
			t.Errorf("%s is called %s, want %s", url, got, want)
		}
		if !postgres.Is(url) {
			t.Errorf("%s is no URL of a database", url)
		}
	}
	if postgres.Is("stackmeter.db") || postgres.Is("postgres.db") || postgres.Is("./postgres:/x") {
		t.Error("a file is a URL of a database")
	}
}

// BenchmarkMillion lists runs, and reads one and its history, beside a thousand cells and
// beside a million.
func BenchmarkMillion(b *testing.B) {
	server := pgtest.Start(b)
	storetest.Million(b, "pgx", func(b *testing.B) (results.Store, string, error) {
		url := server.Database()
		store, err := postgres.Open(b.Context(), url)
		return store, url, err
	})
}
