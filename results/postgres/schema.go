package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"stackmeter/results"
	"stackmeter/results/sqlstore"
)

// errOlder is the error of reading tables that an older stackmeter made.
var errOlder = errors.New("an older stackmeter made its tables, and they are read once they are migrated: by any command that writes to the store, such as stackmeter run, of a user who owns them")

// schema are the steps from no tables to the current ones. The table stackmeter says
// how many of them the others have been through. A step that was ever released is never
// edited, only followed by another.
func schema() []string { return []string{schema1, schema2} }

// prepare checks the tables, and brings them to the last of the steps unless they are
// only read.
func (s *Store) prepare(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return lost{err}
	}
	defer conn.Close()
	var number int
	if err := conn.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&number); err != nil {
		return err
	}
	if err := oldServer(number); err != nil {
		return err
	}
	current := false
	err = transaction(ctx, conn, "BEGIN READ ONLY", func(tx sqlstore.Tx) error {
		version, err := versionOf(ctx, tx.Conn, s.steps)
		if err != nil || version < len(s.steps) {
			if err == nil && s.readOnly {
				err = errOlder
				if version == 0 {
					err = fmt.Errorf("%w: there are no tables of a store; `stackmeter run` makes them", ErrName)
				}
			}
			return err
		}
		missing, err := sqlstore.MissingFigures(ctx, tx)
		if current = len(missing) == 0; err == nil && !current && s.readOnly {
			err = errOlder
		}
		return err
	})
	if err != nil || current {
		return err
	}
	return migrate(ctx, conn, s.steps)
}

// oldestServer is the first version with all that is asked of a server: that
// pg_terminate_backend waits for the end is new in 14, see
// https://www.postgresql.org/docs/14/release-14.html.
const oldestServer = 14

// oldServer refuses a server by its server_version_num.
func oldServer(number int) error {
	if number/10000 < oldestServer {
		return fmt.Errorf("%w: the server is PostgreSQL %d, and %d or newer is needed", ErrName, number/10000, oldestServer)
	}
	return nil
}

// migrate brings the tables to the last of the steps, or leaves them as they are.
func migrate(ctx context.Context, conn *sql.Conn, steps []string) error {
	return transaction(ctx, conn, "BEGIN", func(tx sqlstore.Tx) error {
		var schema sql.NullString
		if err := conn.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
			return err
		}
		if !schema.Valid {
			return fmt.Errorf("%w: there is no schema of the search path in the database", ErrName)
		}
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", key(schema.String, "tables")); err != nil {
			return err
		}
		version, err := versionOf(ctx, conn, steps) // another process may have been faster
		if err != nil {
			return err
		}
		for _, step := range steps[version:] {
			if _, err := conn.ExecContext(ctx, step); err != nil {
				return fmt.Errorf("migrate the tables: %w", err)
			}
		}
		if _, err := conn.ExecContext(ctx, "UPDATE stackmeter SET version = $1", len(steps)); err != nil {
			return err
		}
		return sqlstore.AddFigures(ctx, tx)
	})
}

// versionOf is how many of the steps the tables have been through, 0 where there are
// none.
func versionOf(ctx context.Context, conn *sql.Conn, steps []string) (version int, err error) {
	var marked, others bool
	// Not to_regclass, which may not know yet what another process has just made.
	if err := conn.QueryRowContext(ctx, `SELECT coalesce(bool_or(relname = 'stackmeter'), false), count(*) > 0 FROM pg_class
		WHERE relname IN ('stackmeter', 'runs', 'cells') AND pg_table_is_visible(oid)`).Scan(&marked, &others); err != nil {
		return 0, err
	}
	switch {
	case !marked && others:
		return 0, fmt.Errorf("%w: its tables runs or cells are another program's; a schema of its own keeps a store apart (CREATE SCHEMA team, and ?search_path=team in the URL)", results.ErrForeign)
	case !marked:
		return 0, nil
	}
	if err := conn.QueryRowContext(ctx, "SELECT version FROM stackmeter").Scan(&version); err != nil {
		return 0, err
	}
	if version > len(steps) {
		return 0, results.ErrNewer
	}
	return version, nil
}

// schema2 adds what records that are measured alike have in common, and what was reused.
const schema2 = `
ALTER TABLE cells ADD COLUMN fingerprint text COLLATE "C"; -- NULL: not known
ALTER TABLE cells ADD COLUMN reused text COLLATE "C"; -- the run that measured it; NULL: this one
CREATE INDEX cells_by_fingerprint ON cells (fingerprint, started)`

// schema1 is the first schema. Its columns are those of the SQLite store, and so are the
// texts of times, which have nanoseconds; started::timestamptz is one of PostgreSQL's.
// Ids, tags and times are compared byte by byte, as Go and SQLite do.
const schema1 = `
CREATE TABLE stackmeter (version integer NOT NULL);
INSERT INTO stackmeter VALUES (0);

CREATE TABLE runs (
	id          text COLLATE "C" PRIMARY KEY,
	rowid       bigint GENERATED ALWAYS AS IDENTITY, -- in which order they began
	scenario    text NOT NULL,
	started     text COLLATE "C" NOT NULL,    -- UTC, RFC 3339 with nanoseconds
	finished    text COLLATE "C",             -- NULL while it runs, and after a kill
	outcome     text NOT NULL,
	verdict     text NOT NULL,    -- of its thresholds
	against     text NOT NULL,    -- the run that they were held against
	imported    text NOT NULL,    -- the file that it was read from
	planned     integer NOT NULL, -- cells to measure, without needless ones
	runtime     text NOT NULL,
	fingerprint text NOT NULL,    -- of the plan before secrets were taken out
	owner       text NOT NULL,    -- the process that executes it
	file        text NOT NULL,
	host        json NOT NULL,
	gpu_devices json,
	images      json,             -- {"TOPOLOGY/SERVICE": "sha256:…"}
	checks      json,
	plan        json NOT NULL,    -- without values that may be secrets
	lanes       json,
	answers     json
);

CREATE INDEX runs_by_start ON runs (started DESC, rowid DESC);
CREATE INDEX runs_by_scenario ON runs (scenario, started DESC, rowid DESC);

CREATE TABLE counts (
	run           text COLLATE "C" PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
	searches      boolean NOT NULL, -- whether its plan has a search
	ok            integer NOT NULL,
	failed        integer NOT NULL, -- for another reason than memory
	out_of_memory integer NOT NULL, -- failed for that
	pruned        integer NOT NULL
);

CREATE TABLE tags (
	tag text COLLATE "C" PRIMARY KEY,
	run text COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE
);

CREATE INDEX tags_by_run ON tags (run);

CREATE TABLE spent (
	run     text COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	phase   text NOT NULL,
	seconds double precision NOT NULL,
	PRIMARY KEY (run, phase)
);

CREATE TABLE facts (
	sha256 text COLLATE "C" PRIMARY KEY, -- of json
	json   json NOT NULL
);

CREATE TABLE cells (
	run       text COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
	cell      text COLLATE "C" NOT NULL, -- nginx+gunicorn-w1-t4/mt10/n100
	repeat    integer NOT NULL,

	topology  text NOT NULL,
	server    text NOT NULL,
	workers   integer,
	threads   integer,
	nginx     boolean NOT NULL,
	client    text NOT NULL,
	pool      integer NOT NULL,
	requests  bigint NOT NULL,
	keepalive boolean NOT NULL,
	rate      double precision, -- of an open loop, requests per second; NULL for max, and where it is searched
	arrivals  text,
	search_p99_s double precision,

	started   text COLLATE "C" NOT NULL, -- UTC, RFC 3339 with nanoseconds
	status    text NOT NULL CHECK (status IN ('ok', 'failed', 'pruned')),
	reason    text NOT NULL,
	log_tail  text NOT NULL,
	out_of_memory text CHECK (out_of_memory IN ('gpu', 'main')), -- which memory it failed for; NULL for none
	flags     json,

	duration_s   double precision,
	replies      bigint,
	errors       bigint,
	error_kinds  json,
	first_errors json,
	latency      bytea, -- a histogram

	gpu_validity text,
	gpu_reason   text,
	gpu_flags    json,
	gpu_method   text,
	gpu          json, -- the whole measurement

	memory_method            text,
	memory_peak_bytes        bigint,
	memory_start_bytes       bigint,
	memory_kernel_peak_bytes bigint,
	memory_services          json,
	memory_samples           bigint,
	memory_max_gap_s         double precision,
	memory_reason            text,
	memory_series            json, -- [{"at_s": seconds, "used": bytes}]

	cpu_stack_s   double precision,
	cpu_client_s  double precision,
	cpu_machine_s double precision,

	hand          text,
	load          json, -- how the load was sent

	start_s  double precision,
	ready_s  double precision,
	warmup_s double precision,

	topology_facts text COLLATE "C" NOT NULL REFERENCES facts (sha256),
	stack_facts    text COLLATE "C" REFERENCES facts (sha256),

	axes json,   -- {"class": "gevent", "env.BATCH": "8"}
	of   bigint, -- requests of the load that a short one is for; NULL: it is whole

	PRIMARY KEY (run, cell, repeat)
);

-- Who executes a run holds its advisory lock. This is what he says of himself; of a
-- run that nobody executes it means nothing.
CREATE TABLE locks (
	run    text COLLATE "C" PRIMARY KEY,
	holder text NOT NULL,
	since  timestamptz NOT NULL
);

-- The number of the last write of each process, so that none is done twice.
CREATE TABLE writers (
	writer  text COLLATE "C" PRIMARY KEY,
	wrote   bigint NOT NULL,
	written timestamptz NOT NULL
);
`
