package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"stackmeter/results"
	"stackmeter/results/sqlstore"
)

// applicationID marks a SQLite file as a store of ours: "stmr" as the
// big-endian number in its header. earlyID is what marked those before the
// first release, whose schemas are no longer read.
// See https://www.sqlite.org/fileformat2.html#application_id.
const (
	applicationID = 0x73746d72
	earlyID       = 0x73746b6d
)

// errEarly is the error of a store of before the first release.
var errEarly = errors.New("written by a stackmeter from before its first release, whose stores are no longer read")

// smallestPage is the smallest page of SQLite's, in bytes.
const smallestPage = 512

// schema are the steps from an empty file to the current schema. A file's
// user_version is how many of them it has been through. A step that was ever
// released is never edited, only followed by another.
func schema() []string {
	return []string{schema1, schema2, schema3, schema4, schema5, schema6, schema7}
}

// prepare checks the file and brings it to the last of the steps. It writes
// nothing before the check has passed.
func (s *Store) prepare(ctx context.Context) error {
	// SQLite takes a file that is too short for a page for an empty one, and
	// would overwrite it. A process that was killed while it made one leaves a
	// journal beside it.
	if info, err := os.Stat(s.path); err == nil && info.Size() > 0 && info.Size() < smallestPage {
		if _, err := os.Stat(s.path + "-journal"); err != nil {
			return results.ErrForeign
		}
	}
	version, current, err := s.version(ctx)
	if err != nil {
		return err
	}
	if version > 0 {
		if err := transaction(ctx, s.db, "BEGIN", func(tx sqlstore.Tx) error { return s.check(ctx, tx.Conn) }); err != nil {
			return err
		}
		// Someone may have switched it with another tool.
		if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode=DELETE"); err != nil {
			return err
		}
	}
	if current {
		return nil
	}
	return migrate(ctx, s.db, s.steps)
}

// migrate brings a database to the last of the steps, or leaves it as it is.
func migrate(ctx context.Context, db *sql.DB, steps []string) error {
	return transaction(ctx, db, "BEGIN IMMEDIATE", func(tx sqlstore.Tx) error {
		version, err := versionOf(ctx, tx.Conn, steps) // another process may have been faster
		if err != nil {
			return err
		}
		for _, step := range steps[version:] {
			if _, err := tx.Conn.ExecContext(ctx, step); err != nil {
				return fmt.Errorf("migrate the schema: %w", err)
			}
		}
		if _, err = tx.Conn.ExecContext(ctx, fmt.Sprintf(
			"PRAGMA application_id=%d; PRAGMA user_version=%d", applicationID, len(steps))); err != nil {
			return err
		}
		return sqlstore.AddFigures(ctx, tx)
	})
}

// check looks for damage, indexes included: a run that is not found in one would be
// missing without a word. SQLite takes a last page that is cut short for one
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
	if err := conn.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", results.ErrDamaged, verdict)
	}
	return nil
}

// version returns how many of the steps the file has been through, 0 for an
// empty one, and whether that is all of them and no figure lacks its column.
func (s *Store) version(ctx context.Context) (version int, current bool, err error) {
	err = transaction(ctx, s.db, "BEGIN", func(tx sqlstore.Tx) error {
		if version, err = versionOf(ctx, tx.Conn, s.steps); err != nil || version < len(s.steps) {
			return err
		}
		missing, err := sqlstore.MissingFigures(ctx, tx)
		current = len(missing) == 0
		return err
	})
	return version, current, err
}

func versionOf(ctx context.Context, conn *sql.Conn, steps []string) (int, error) {
	var id, version, objects int
	if err := conn.QueryRowContext(ctx, `SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id, pragma_user_version`).Scan(&id, &version, &objects); err != nil {
		return 0, err
	}
	switch {
	case id == 0 && version == 0 && objects == 0:
		return 0, nil
	case id == earlyID:
		return 0, errEarly
	case id != applicationID || version < 1:
		return 0, results.ErrForeign
	case version > len(steps):
		return 0, results.ErrNewer
	}
	return version, nil
}

// schema2 adds the values of the axes that have no column of their own.
const schema2 = `ALTER TABLE cells ADD COLUMN axes TEXT; -- JSON: {"class": "gevent", "env.BATCH": "8"}`

// schema3 adds what a search's short cells stand for.
const schema3 = `ALTER TABLE cells ADD COLUMN of INTEGER; -- requests of the load that a short one is for; NULL: it is whole`

// schema4 adds what a run had to measure side by side with.
const schema4 = `ALTER TABLE runs ADD COLUMN lanes TEXT; -- JSON`

// schema5 adds what a search found.
const schema5 = `ALTER TABLE runs ADD COLUMN answers TEXT; -- JSON`

// schema6 adds how many cells of a run have each status, for
// which who listed runs read all cells.
const schema6 = `
DROP INDEX cells_by_status;
CREATE TABLE counts (
	run           TEXT PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
	searches      INTEGER NOT NULL, -- whether its plan has a search
	ok            INTEGER NOT NULL,
	failed        INTEGER NOT NULL, -- for another reason than memory
	out_of_memory INTEGER NOT NULL, -- failed for that
	pruned        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counts SELECT id, json_extract(plan, '$.search') IS NOT NULL, 0, 0, 0, 0 FROM runs;
` + sqlstore.Recount

// schema7 adds what records that are measured alike have in common, and what was reused.
const schema7 = `
ALTER TABLE cells ADD COLUMN fingerprint TEXT; -- NULL: not known
ALTER TABLE cells ADD COLUMN reused TEXT; -- the run that measured it; NULL: this one
CREATE INDEX cells_by_fingerprint ON cells (fingerprint, started)`

// schema1 is the first schema. Figures are in seconds and bytes; NULL is a
// figure that was not measured. Those that follow from others have columns too,
// which are added behind them. Lists and maps are
// JSON. What repeats from cell to cell is in facts, addressed by its content.
// Large columns come last in runs, so that listing the rest does not read them.
const schema1 = `
CREATE TABLE runs (
	id          TEXT PRIMARY KEY,
	scenario    TEXT NOT NULL,
	started     TEXT NOT NULL,    -- UTC, RFC 3339 with nanoseconds
	finished    TEXT,             -- NULL while it runs, and after a kill
	outcome     TEXT NOT NULL,
	verdict     TEXT NOT NULL,    -- of its thresholds
	against     TEXT NOT NULL,    -- the run that they were held against
	imported    TEXT NOT NULL,    -- the file that it was read from
	planned     INTEGER NOT NULL, -- cells to measure, without needless ones
	runtime     TEXT NOT NULL,
	fingerprint TEXT NOT NULL,    -- of the plan before secrets were taken out
	owner       TEXT NOT NULL,    -- the process that executes it
	file        TEXT NOT NULL,
	host        TEXT NOT NULL,    -- JSON
	gpu_devices TEXT,             -- JSON
	images      TEXT,             -- JSON: {"TOPOLOGY/SERVICE": "sha256:…"}
	checks      TEXT,             -- JSON
	plan        TEXT NOT NULL     -- JSON, without values that may be secrets
) STRICT;

CREATE INDEX runs_by_start ON runs (started);
CREATE INDEX runs_by_scenario ON runs (scenario, started);

CREATE TABLE tags (
	tag TEXT PRIMARY KEY,
	run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX tags_by_run ON tags (run);

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
	rate      REAL,          -- of an open loop, requests per second; NULL for max, and where it is searched
	arrivals  TEXT,
	search_p99_s REAL,

	started   TEXT NOT NULL, -- UTC, RFC 3339 with nanoseconds
	status    TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'pruned')),
	reason    TEXT NOT NULL,
	log_tail  TEXT NOT NULL,
	out_of_memory TEXT CHECK (out_of_memory IN ('gpu', 'main')), -- which memory it failed for; NULL for none
	flags     TEXT,          -- JSON

	duration_s   REAL,
	replies      INTEGER,
	errors       INTEGER,
	error_kinds  TEXT,       -- JSON
	first_errors TEXT,       -- JSON
	latency      BLOB,       -- a histogram

	gpu_validity TEXT,
	gpu_reason   TEXT,
	gpu_flags    TEXT,       -- JSON
	gpu_method   TEXT,
	gpu          TEXT,       -- JSON: the whole measurement

	memory_method            TEXT,
	memory_peak_bytes        INTEGER,
	memory_start_bytes       INTEGER,
	memory_kernel_peak_bytes INTEGER,
	memory_services          TEXT, -- JSON
	memory_samples           INTEGER,
	memory_max_gap_s         REAL,
	memory_reason            TEXT,
	memory_series            TEXT, -- JSON: [{"at_s": seconds, "used": bytes}]

	cpu_stack_s   REAL,
	cpu_client_s  REAL,
	cpu_machine_s REAL,

	hand          TEXT,
	load          TEXT, -- JSON: how the load was sent

	start_s  REAL,
	ready_s  REAL,
	warmup_s REAL,

	topology_facts TEXT NOT NULL REFERENCES facts (sha256),
	stack_facts    TEXT REFERENCES facts (sha256),

	PRIMARY KEY (run, cell, repeat)
) STRICT;

CREATE INDEX cells_by_status ON cells (run, status);
`
