package server_test

import (
	"database/sql"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/report/server"
	"stackmeter/results/sqlite"
	"stackmeter/results/storetest"
)

// TestEarlierRunUnread: a run is shown although the one before it cannot be read, and the
// page says so.
func TestEarlierRunUnread(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "s.db")
	store, err := sqlite.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i, id := range []string{"one", "two"} {
		began := time.Unix(int64(i), 0)
		if err := errors.Join(store.Begin(ctx, results.Run{ID: id, Scenario: "nightly", Started: began}),
			store.Put(ctx, storetest.Record(id, results.StatusOK, 1)), store.Finish(ctx, id, results.OutcomeOK, began)); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "UPDATE cells SET flags = '[' WHERE run = 'one'"); err != nil {
		t.Fatal(err)
	}
	shown, answer := server.Server{Store: store, Name: "s.db"}, httptest.NewRecorder()
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
	shown.Handler(at).ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/runs/two", nil))
	if page := answer.Body.String(); answer.Code != http.StatusOK || !strings.Contains(page, "What changed since the last time cannot be said") {
		t.Errorf("status %d: %s", answer.Code, page)
	}
}
