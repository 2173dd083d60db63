package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"stackmeter/results"
)

// applicationID marks a SQLite file as a store of ours: "stkm" as the
// big-endian number in its header.
// See https://www.sqlite.org/fileformat2.html#application_id.
const applicationID = 0x73746b6d

// smallestPage is the smallest page of SQLite's, in bytes.
const smallestPage = 512

// migrations are the steps from an empty file to the current schema. A file's
// user_version is how many of them it has been through; a step that was ever
// released is never edited, only followed by another.
func migrations() []string {
	return []string{schema1, schema2, schema3, schema4, schema5, schema6, schema7}
}

// prepare checks the file and brings it to the last of the steps. The check
// comes before anything is written.
func (s *Store) prepare(ctx context.Context, steps []string) error {
	// SQLite takes a file that is too short for a page for an empty one, and
	// would overwrite it. One with a journal beside it was left half made by a
	// process that was killed.
	if info, err := os.Stat(s.path); err == nil && info.Size() > 0 && info.Size() < smallestPage {
		if _, err := os.Stat(s.path + "-journal"); err != nil {
			return results.ErrForeign
		}
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	if version > len(steps) {
		return results.ErrNewer
	}
	if version > 0 {
		if err := transaction(ctx, s.db, "BEGIN", func(conn *sql.Conn) error { return s.check(ctx, conn) }); err != nil {
			return err
		}
		// Someone may have switched it with another tool.
		if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode=DELETE"); err != nil {
			return err
		}
	}
	if version == len(steps) {
		return nil
	}
	return migrate(ctx, s.db, steps)
}

// migrate brings a database to the last of the steps, or leaves it as it is.
func migrate(ctx context.Context, db *sql.DB, steps []string) error {
	return transaction(ctx, db, "BEGIN IMMEDIATE", func(conn *sql.Conn) error {
		// Another process may have been faster.
		version, err := versionOf(ctx, conn)
		if err != nil {
			return err
		}
		if version > len(steps) {
			return results.ErrNewer
		}
		for _, step := range steps[version:] {
			if _, err := conn.ExecContext(ctx, step); err != nil {
				return fmt.Errorf("migrate the schema: %w", err)
			}
		}
		_, err = conn.ExecContext(ctx, fmt.Sprintf(
			"PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, len(steps)))
		return err
	})
}

// check looks for damage. SQLite takes a last page that is cut short for one
// that ends in zeros, so the file's length is looked at first; within a
// transaction no other process changes it.
func (s *Store) check(ctx context.Context, conn *sql.Conn) error {
	var pages, size int64
	if err := conn.QueryRowContext(ctx, "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size").Scan(&pages, &size); err != nil {
		return err
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if info.Size() < pages*size {
		return fmt.Errorf("%w: it has %d bytes of %d", results.ErrDamaged, info.Size(), pages*size)
	}
	var verdict string
	if err := conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", results.ErrDamaged, verdict)
	}
	return nil
}

// version returns how many migrations the file has been through, 0 for an
// empty one, and ErrForeign for a database of someone else's.
func (s *Store) version(ctx context.Context) (int, error) {
	var version int
	err := transaction(ctx, s.db, "BEGIN", func(conn *sql.Conn) (err error) {
		version, err = versionOf(ctx, conn)
		return err
	})
	return version, err
}

func versionOf(ctx context.Context, conn *sql.Conn) (int, error) {
	var id, version, objects int
	for _, read := range []struct {
		query string
		into  *int
	}{
		{"PRAGMA application_id", &id},
		{"PRAGMA user_version", &version},
		{"SELECT count(*) FROM sqlite_schema", &objects},
	} {
		if err := conn.QueryRowContext(ctx, read.query).Scan(read.into); err != nil {
			return 0, err
		}
	}
	switch {
	case id == applicationID && version > 0:
		return version, nil
	case id == 0 && version == 0 && objects == 0:
		return 0, nil
	}
	return 0, results.ErrForeign
}

// schema1 is the first schema. Figures that people ask for have columns, in
// seconds and bytes; NULL is a figure that was not measured. Lists and maps are
// JSON. What repeats from cell to cell is in facts, addressed by its content.
const schema1 = `
CREATE TABLE runs (
	id          TEXT PRIMARY KEY,
	scenario    TEXT NOT NULL,
	file        TEXT NOT NULL,
	started     TEXT NOT NULL, -- UTC, RFC 3339 with nanoseconds
	finished    TEXT,          -- NULL while it runs, and after a kill
	outcome     TEXT NOT NULL,
	runtime     TEXT NOT NULL,
	host        TEXT NOT NULL, -- JSON
	gpu_devices TEXT,          -- JSON
	plan        TEXT NOT NULL, -- JSON, without values that may be secrets
	fingerprint TEXT NOT NULL, -- of the plan with them
	owner       TEXT NOT NULL  -- the process that executes it
) STRICT;

CREATE INDEX runs_by_start ON runs (started);

CREATE TABLE spent (
	run     TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	phase   TEXT NOT NULL,
	seconds REAL NOT NULL,
	PRIMARY KEY (run, phase)
) STRICT, WITHOUT ROWID;

CREATE TABLE facts (
	sha256 TEXT PRIMARY KEY, -- of json
	json   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cells (
	run       TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	cell      TEXT NOT NULL, -- nginx+gunicorn-w1-t4/mt10/n100
	repeat    INTEGER NOT NULL,

	topology  TEXT NOT NULL,
	server    TEXT NOT NULL,
	workers   INTEGER,
	threads   INTEGER,
	nginx     INTEGER NOT NULL,
	client    TEXT NOT NULL,
	pool      INTEGER NOT NULL,
	requests  INTEGER NOT NULL,
	keepalive INTEGER NOT NULL,
	rate      REAL,          -- of an open loop, requests per second; NULL for max and where it is searched
	arrivals  TEXT,
	search_p99_s REAL,

	started   TEXT NOT NULL, -- UTC, RFC 3339 with nanoseconds
	status    TEXT NOT NULL CHECK (status IN ('ok', 'failed')),
	reason    TEXT NOT NULL,
	log_tail  TEXT NOT NULL,
	flags     TEXT,          -- JSON

	duration_s     REAL,
	throughput_rps REAL,
	replies        INTEGER,
	errors         INTEGER,
	error_kinds    TEXT,     -- JSON
	first_errors   TEXT,     -- JSON

	latency_min_s  REAL,
	latency_mean_s REAL,
	latency_p50_s  REAL,
	latency_p90_s  REAL,
	latency_p99_s  REAL,
	latency_max_s  REAL,
	latency        BLOB,     -- the histogram that these come from

	gpu_validity         TEXT,
	gpu_reason           TEXT,
	gpu_flags            TEXT, -- JSON
	gpu_method           TEXT,
	gpu_baseline_bytes   INTEGER,
	gpu_start_bytes      INTEGER,
	gpu_peak_bytes       INTEGER,
	gpu_stack_peak_bytes INTEGER,
	gpu_samples          INTEGER,
	gpu_interval_s       REAL,
	gpu_max_gap_s        REAL,
	gpu                  TEXT, -- JSON: the measurement that these come from

	memory_method            TEXT,
	memory_peak_bytes        INTEGER,
	memory_start_bytes       INTEGER,
	memory_kernel_peak_bytes INTEGER,
	memory_services          TEXT, -- JSON
	memory_samples           INTEGER,
	memory_max_gap_s         REAL,
	memory_reason            TEXT,

	cpu_stack_s  REAL,
	cpu_client_s REAL,

	hand          TEXT,
	start_delay_s REAL,
	bytes_sent    INTEGER,
	bytes_read    INTEGER,
	load           TEXT, -- JSON: how the load was sent; some of it has columns

	start_s  REAL,
	ready_s  REAL,
	warmup_s REAL,

	topology_facts TEXT NOT NULL REFERENCES facts (sha256),
	stack_facts    TEXT REFERENCES facts (sha256),

	PRIMARY KEY (run, cell, repeat)
) STRICT;

CREATE INDEX cells_by_status ON cells (run, status);
CREATE INDEX cells_by_topology ON cells (topology, requests, client, pool);
`

// schema2 adds the memory of the stack over time.
const schema2 = `ALTER TABLE cells ADD COLUMN memory_series TEXT` // JSON: [{"at_s": seconds, "used": bytes}]

// schema3 adds the CPU time that everything on the machine used.
const schema3 = `ALTER TABLE cells ADD COLUMN cpu_machine_s REAL`

// schema4 adds what a run's thresholds said, where an imported run came from,
// and tags. Before it, thresholds were refused, so that a run whose cells are
// all ok had passed. The indices are those of history and of last-passed: the
// last runs of one scenario.
const schema4 = `
ALTER TABLE runs ADD COLUMN verdict  TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN against  TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN checks   TEXT; -- JSON
ALTER TABLE runs ADD COLUMN imported TEXT NOT NULL DEFAULT '';
UPDATE runs SET verdict = 'passed' WHERE outcome = 'ok';

CREATE TABLE tags (
	tag TEXT PRIMARY KEY,
	run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX tags_by_run ON tags (run);
CREATE INDEX runs_by_scenario ON runs (scenario, started);
`

// schema5 adds the images that a run began with.
const schema5 = `ALTER TABLE runs ADD COLUMN images TEXT` // JSON: {"TOPOLOGY/SERVICE": "sha256:…"}

// schema7 adds the number of planned cells.
const schema7 = `ALTER TABLE runs ADD COLUMN planned INTEGER NOT NULL DEFAULT 0`

// schema6 adds the status pruned, and which memory a cell failed for. SQLite
// changes no constraint of a table that is there, so the cells move to a new
// one: the columns are in the order in which the steps before have added them.
// See https://www.sqlite.org/lang_altertable.html#otheralter.
const schema6 = `
CREATE TABLE cells_6 (
	run       TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	cell      TEXT NOT NULL, -- nginx+gunicorn-w1-t4/mt10/n100
	repeat    INTEGER NOT NULL,

	topology  TEXT NOT NULL,
	server    TEXT NOT NULL,
	workers   INTEGER,
	threads   INTEGER,
	nginx     INTEGER NOT NULL,
	client    TEXT NOT NULL,
	pool      INTEGER NOT NULL,
	requests  INTEGER NOT NULL,
	keepalive INTEGER NOT NULL,
	rate      REAL,          -- of an open loop, requests per second; NULL for max and where it is searched
	arrivals  TEXT,
	search_p99_s REAL,

	started   TEXT NOT NULL, -- UTC, RFC 3339 with nanoseconds
	status    TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'pruned')),
	reason    TEXT NOT NULL,
	log_tail  TEXT NOT NULL,
	flags     TEXT,          -- JSON

	duration_s     REAL,
	throughput_rps REAL,
	replies        INTEGER,
	errors         INTEGER,
	error_kinds    TEXT,     -- JSON
	first_errors   TEXT,     -- JSON

	latency_min_s  REAL,
	latency_mean_s REAL,
	latency_p50_s  REAL,
	latency_p90_s  REAL,
	latency_p99_s  REAL,
	latency_max_s  REAL,
	latency        BLOB,     -- the histogram that these come from

	gpu_validity         TEXT,
	gpu_reason           TEXT,
	gpu_flags            TEXT, -- JSON
	gpu_method           TEXT,
	gpu_baseline_bytes   INTEGER,
	gpu_start_bytes      INTEGER,
	gpu_peak_bytes       INTEGER,
	gpu_stack_peak_bytes INTEGER,
	gpu_samples          INTEGER,
	gpu_interval_s       REAL,
	gpu_max_gap_s        REAL,
	gpu                  TEXT, -- JSON: the measurement that these come from

	memory_method            TEXT,
	memory_peak_bytes        INTEGER,
	memory_start_bytes       INTEGER,
	memory_kernel_peak_bytes INTEGER,
	memory_services          TEXT, -- JSON
	memory_samples           INTEGER,
	memory_max_gap_s         REAL,
	memory_reason            TEXT,

	cpu_stack_s  REAL,
	cpu_client_s REAL,

	hand          TEXT,
	start_delay_s REAL,
	bytes_sent    INTEGER,
	bytes_read    INTEGER,
	load           TEXT, -- JSON: how the load was sent; some of it has columns

	start_s  REAL,
	ready_s  REAL,
	warmup_s REAL,

	topology_facts TEXT NOT NULL REFERENCES facts (sha256),
	stack_facts    TEXT REFERENCES facts (sha256),

	memory_series TEXT, -- JSON: [{"at_s": seconds, "used": bytes}]
	cpu_machine_s REAL,
	out_of_memory TEXT CHECK (out_of_memory IN ('gpu', 'main')), -- which one it failed for; NULL for none

	PRIMARY KEY (run, cell, repeat)
) STRICT;

INSERT INTO cells_6 SELECT *, NULL FROM cells;
DROP TABLE cells;
ALTER TABLE cells_6 RENAME TO cells;

CREATE INDEX cells_by_status ON cells (run, status);
CREATE INDEX cells_by_topology ON cells (topology, requests, client, pool);
`
