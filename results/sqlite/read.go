package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
)

// selectRecords reads a run's records in no particular order. On an error it
// returns those before it, which is why SQLite does not sort them: it would
// have to read all of them for the first.
func selectRecords(ctx context.Context, conn *sql.Conn, run string) ([]results.Record, error) {
	rows, err := conn.QueryContext(ctx, `
		SELECT c.cell, c.repeat, c.client, c.pool, c.requests, c.keepalive, coalesce(c.rate, 0), coalesce(c.arrivals, ''), coalesce(c.search_p99_s, 0),
			c.started, c.status, c.reason, c.log_tail, coalesce(c.out_of_memory, ''), c.flags,
			c.duration_s, c.replies, c.errors, c.error_kinds, c.first_errors, c.latency,
			c.gpu,
			c.memory_method, c.memory_peak_bytes, c.memory_start_bytes, c.memory_kernel_peak_bytes,
			c.memory_services, coalesce(c.memory_samples, 0), c.memory_max_gap_s, c.memory_reason, c.memory_series,
			c.cpu_stack_s, c.cpu_client_s, c.cpu_machine_s, c.load,
			c.start_s, c.ready_s, c.warmup_s, t.json, s.json
		FROM cells c
		JOIN facts t ON t.sha256 = c.topology_facts
		LEFT JOIN facts s ON s.sha256 = c.stack_facts
		WHERE c.run = ?`, run)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var records []results.Record
	for rows.Next() {
		record, err := scanRecord(rows)
		if err != nil {
			return records, fmt.Errorf("cell %s: %w", record.Cell.Name, err)
		}
		record.Run = run
		records = append(records, record)
	}
	return records, rows.Err()
}

// scanRecord reads one row of selectRecords.
func scanRecord(rows *sql.Rows) (results.Record, error) {
	var r results.Record
	var started, topology string
	var flags, errorKinds, firstErrors, usage, services, stack sql.NullString
	var memoryMethod, memoryReason, memorySeries, sent sql.NullString
	var search float64
	var histogram []byte
	var replies, errors sql.NullInt64
	var memoryGap sql.NullFloat64
	var startS, readyS, warmupS *float64
	if err := rows.Scan(&r.Cell.Name, &r.Cell.Repeat,
		&r.Cell.Load.Client, &r.Cell.Load.Pool, &r.Cell.Load.Requests, &r.Cell.Load.KeepAlive,
		&r.Cell.Load.Rate, &r.Cell.Load.Arrivals, &search,
		&started, &r.Status, &r.Reason, &r.LogTail, &r.OutOfMemory, &flags,
		&r.Duration, &replies, &errors, &errorKinds, &firstErrors, &histogram,
		&usage,
		&memoryMethod, &r.Memory.Peak, &r.Memory.Start, &r.Memory.KernelPeak,
		&services, &r.Memory.Samples, &memoryGap, &memoryReason, &memorySeries,
		&r.CPU.Stack, &r.CPU.Client, &r.CPU.Machine, &sent,
		&startS, &readyS, &warmupS, &topology, &stack); err != nil {
		return r, err
	}
	var err error
	if r.Started, err = parseTime(started); err != nil {
		return r, fmt.Errorf("started: %w", err)
	}
	r.Replies, r.Errors = int(replies.Int64), int(errors.Int64)
	r.Memory.Method, r.Memory.Reason, r.Memory.MaxGap = memoryMethod.String, memoryReason.String, memoryGap.Float64
	r.Cell.Load.P99 = time.Duration(math.Round(search * 1e9))
	for _, part := range []struct {
		column, text string
		into         any
	}{
		{"flags", flags.String, &r.Flags},
		{"error_kinds", errorKinds.String, &r.ErrorKinds},
		{"first_errors", firstErrors.String, &r.FirstErrors},
		{"gpu", usage.String, &r.GPU},
		{"load", sent.String, &r.Load},
		{"memory_series", memorySeries.String, &r.Memory.Series},
		{"memory_services", services.String, &r.Memory.Services},
		{"topology_facts", topology, &r.Topology},
		{"stack_facts", stack.String, &r.Stack},
	} {
		if err := fromJSON(part.text, part.into); err != nil {
			return r, fmt.Errorf("%s: %w", part.column, err)
		}
	}
	if r.Stack != nil {
		r.Stack.StartS, r.Stack.ReadyS, r.Stack.WarmupS = startS, readyS, warmupS
	}
	if histogram != nil {
		r.Latency = new(load.Latency)
		if err := r.Latency.UnmarshalBinary(histogram); err != nil {
			return r, fmt.Errorf("latency: %w", err)
		}
	}
	return r, nil
}
