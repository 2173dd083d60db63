package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
)

// metricColumns are the columns, or expressions over columns, of the metrics.
func metricColumns() map[string]string {
	return map[string]string{
		"duration":       "duration_s",
		"throughput":     "throughput_rps",
		"p50":            "latency_p50_s",
		"p90":            "latency_p90_s",
		"p99":            "latency_p99_s",
		"latency_mean":   "latency_mean_s",
		"latency_max":    "latency_max_s",
		"errors":         "errors",
		"gpu_peak":       "gpu_peak_bytes",
		"gpu_stack_peak": "gpu_stack_peak_bytes",
		"memory_peak":    "memory_peak_bytes",
		"cpu_stack":      "cpu_stack_s",
		"cpu_client":     "cpu_client_s",
		"rate":           "coalesce(nullif(json_extract(load, '$.search.rate'), 0), rate)",
	}
}

// History returns the last runs of a scenario and what they say about one metric.
func (s *Store) History(ctx context.Context, scenario, pattern, metric string, last int) ([]results.Run, []results.Observation, error) {
	column, known := metricColumns()[metric]
	if !known {
		return nil, nil, fmt.Errorf("history: there is no column for the metric %q", metric)
	}
	var runs []results.Run
	var observations []results.Observation
	err := s.read(ctx, func(conn *sql.Conn) error {
		if scenario == "" {
			id, err := findRun(ctx, conn, results.Latest, results.Scope{})
			if err != nil {
				return err
			}
			if err := conn.QueryRowContext(ctx, "SELECT scenario FROM runs WHERE id = ?", id).Scan(&scenario); err != nil {
				return err
			}
		}
		var err error
		runs, err = selectRuns(ctx, conn, "WHERE id IN (SELECT id FROM runs WHERE scenario = ? ORDER BY started DESC, rowid DESC LIMIT ?)", scenario, last)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return fmt.Errorf("%w: the store holds none of scenario %s", results.ErrNoRun, scenario)
		}
		slices.Reverse(runs)
		ids := make([]any, 0, len(runs))
		for _, run := range runs {
			ids = append(ids, run.ID)
		}
		rows, err := conn.QueryContext(ctx, "SELECT run, cell, repeat, status = 'ok' AND coalesce(errors, 0) = 0, "+column+
			" FROM cells WHERE run IN (?"+strings.Repeat(", ?", len(runs)-1)+")", ids...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var o results.Observation
			if err := rows.Scan(&o.Run, &o.Cell, &o.Repeat, &o.Clean, &o.Value); err != nil {
				return err
			}
			if results.MatchCell(pattern, o.Cell) {
				observations = append(observations, o)
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read history: %w", err)
	}
	return runs, observations, nil
}
