package report_test

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/sqlite"
)

// TestColumnsAreTheStores: a query and a spreadsheet use the same names.
func TestColumnsAreTheStores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT name FROM pragma_table_info('cells')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var columns []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		columns = append(columns, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	header := strings.TrimSpace(render(t, "csv", results.Run{}, nil, report.Options{}))
	for _, name := range strings.Split(header, ",") {
		if strings.HasPrefix(name, "cell_") || name == "run_verdict" {
			continue // over the repeats, and in words: the store has no such figures
		}
		if !slices.Contains(columns, name) {
			t.Errorf("column %s of the CSV is no column of the store", name)
		}
	}
}
