package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
)

// Put writes a record; it is on disk when Put returns nil. A failed or pruned
// record of the same cell and repeat is replaced. An ok one is replaced only by itself,
// the record of the same start, with what became known since; anything else
// is ErrHeld. The run has to have begun.
func (s *Store) Put(ctx context.Context, record results.Record) error {
	topology, err := newFact(record.Topology.Redacted())
	if err != nil {
		return named("store cell", record.Cell.Name, err)
	}
	var stack *fact
	if record.Stack != nil {
		if stack, err = newFact(withoutTimes(*record.Stack)); err != nil {
			return named("store cell", record.Cell.Name, err)
		}
	}
	row, err := newRow(record, topology, stack)
	if err != nil {
		return named("store cell", record.Cell.Name, err)
	}
	return named("store cell", record.Cell.Name, s.write(ctx, func(conn *sql.Conn) error {
		if err := updateOne(ctx, conn, "UPDATE runs SET id = id WHERE id = ?", record.Run); err != nil {
			return fmt.Errorf("run %s: %w", record.Run, err)
		}
		var status, started string
		err := conn.QueryRowContext(ctx,
			"SELECT status, started FROM cells WHERE run = ? AND cell = ? AND repeat = ?",
			record.Run, record.Cell.Name, record.Cell.Repeat).Scan(&status, &started)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		itself := record.Status == results.StatusOK && started == formatTime(record.Started)
		if status == results.StatusOK && !itself {
			return fmt.Errorf("repeat %d of run %s: %w", record.Cell.Repeat, record.Run, results.ErrHeld)
		}
		for _, f := range []*fact{topology, stack} {
			if f == nil {
				continue
			}
			if _, err := conn.ExecContext(ctx, "INSERT INTO facts (sha256, json) VALUES (?, ?) ON CONFLICT DO NOTHING",
				f.sha256, f.json); err != nil {
				return err
			}
		}
		_, err = conn.ExecContext(ctx, row.insert(), row.values...)
		return err
	}))
}

// A fact is a piece of JSON that is addressed by its content.
type fact struct{ sha256, json string }

func newFact(value any) (*fact, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return &fact{sha256: hex.EncodeToString(sum[:]), json: string(text)}, nil
}

// withoutTimes leaves the times, which have columns, out of a stack's facts,
// so that what is the same is stored once.
func withoutTimes(stack results.Stack) results.Stack {
	stack.StartS, stack.ReadyS, stack.WarmupS = nil, nil, nil
	return stack
}

// A row is the columns of one record with their values.
type row struct {
	names  []string
	values []any
	err    error
}

func (r *row) add(name string, value any) {
	r.names = append(r.names, name)
	r.values = append(r.values, value)
}

// addJSON adds a list or a map; missing makes it NULL, which is not the same
// as an empty one.
func (r *row) addJSON(name string, value any, missing bool) {
	text, err := jsonOrNull(value, missing)
	if err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("%s: %w", name, err))
	}
	r.add(name, text)
}

func (r *row) insert() string {
	return "INSERT OR REPLACE INTO cells (" + strings.Join(r.names, ", ") +
		") VALUES (?" + strings.Repeat(", ?", len(r.names)-1) + ")"
}

// newRow spreads a record over the columns.
func newRow(r results.Record, topology, stack *fact) (*row, error) {
	row := &row{}
	row.add("run", r.Run)
	row.add("cell", r.Cell.Name)
	row.add("repeat", r.Cell.Repeat)
	row.add("topology", r.Topology.Name)
	row.add("server", r.Topology.Server)
	row.add("workers", nullIfZero(r.Topology.Workers))
	row.add("threads", nullIfZero(r.Topology.Threads))
	row.add("nginx", r.Topology.Nginx)
	row.add("client", r.Cell.Load.Client)
	row.add("pool", r.Cell.Load.Pool)
	row.add("requests", r.Cell.Load.Requests)
	row.add("keepalive", r.Cell.Load.KeepAlive)
	row.add("rate", nullIfZero(r.Cell.Load.Rate))
	row.add("arrivals", nullIfZero(r.Cell.Load.Arrivals))
	row.add("search_p99_s", nullIfZero(r.Cell.Load.P99.Seconds()))
	row.add("started", formatTime(r.Started))
	row.add("status", r.Status)
	row.add("reason", r.Reason)
	row.add("log_tail", r.LogTail)
	row.add("out_of_memory", nullIfZero(r.OutOfMemory))
	row.addJSON("flags", r.Flags, r.Flags == nil)
	row.add("duration_s", nullable(r.Duration))
	row.add("throughput_rps", nullable(r.Throughput()))
	row.add("replies", nullUnless(r.Attempted(), r.Replies))
	row.add("errors", nullUnless(r.Attempted(), r.Errors))
	row.addJSON("error_kinds", r.ErrorKinds, r.ErrorKinds == nil)
	row.addJSON("first_errors", r.FirstErrors, r.FirstErrors == nil)
	if err := addLatency(row, r); err != nil {
		return nil, err
	}
	addGPU(row, r.GPU)
	row.add("memory_method", nullIfZero(r.Memory.Method))
	row.add("memory_peak_bytes", nullable(r.Memory.Peak))
	row.add("memory_start_bytes", nullable(r.Memory.Start))
	row.add("memory_kernel_peak_bytes", nullable(r.Memory.KernelPeak))
	row.addJSON("memory_services", r.Memory.Services, r.Memory.Services == nil)
	row.add("memory_samples", nullIfZero(r.Memory.Samples))
	row.add("memory_max_gap_s", nullIfZero(r.Memory.MaxGap))
	row.addJSON("memory_series", r.Memory.Series, r.Memory.Series == nil)
	row.add("memory_reason", nullIfZero(r.Memory.Reason))
	row.add("cpu_stack_s", nullable(r.CPU.Stack))
	row.add("cpu_client_s", nullable(r.CPU.Client))
	row.add("cpu_machine_s", nullable(r.CPU.Machine))
	row.add("hand", nullIfZero(r.Load.Hand))
	row.add("start_delay_s", nullUnless(r.Attempted(), r.Load.StartDelay))
	row.add("bytes_sent", nullUnless(r.Attempted(), r.Load.BytesSent))
	row.add("bytes_read", nullUnless(r.Attempted(), r.Load.BytesRead))
	row.addJSON("load", r.Load, !r.Attempted())
	row.add("topology_facts", topology.sha256)
	if stack != nil {
		row.add("start_s", nullable(r.Stack.StartS))
		row.add("ready_s", nullable(r.Stack.ReadyS))
		row.add("warmup_s", nullable(r.Stack.WarmupS))
		row.add("stack_facts", stack.sha256)
	}
	return row, row.err
}

// addLatency adds the histogram and the figures that people ask it for.
func addLatency(row *row, r results.Record) error {
	if r.Latency == nil {
		return nil
	}
	histogram, err := r.Latency.MarshalBinary()
	if err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	row.add("latency", histogram)
	if r.Latency.Count() == 0 {
		return nil
	}
	row.add("latency_min_s", r.Latency.Min().Seconds())
	row.add("latency_mean_s", r.Latency.Mean().Seconds())
	row.add("latency_p50_s", r.Latency.Percentile(50).Seconds())
	row.add("latency_p90_s", r.Latency.Percentile(90).Seconds())
	row.add("latency_p99_s", r.Latency.Percentile(99).Seconds())
	row.add("latency_max_s", r.Latency.Max().Seconds())
	return nil
}

// addGPU adds the measurement of the devices as it is and the figures that
// people ask it for. Without a measurement all of them are NULL.
func addGPU(row *row, usage gpu.Usage) {
	if reflect.ValueOf(usage).IsZero() {
		return
	}
	row.add("gpu_validity", nullIfZero(usage.Validity))
	row.add("gpu_reason", nullIfZero(usage.Reason))
	row.addJSON("gpu_flags", usage.Flags, usage.Flags == nil)
	row.add("gpu_method", nullIfZero(usage.Method))
	row.add("gpu_baseline_bytes", nullable(usage.Baseline))
	row.add("gpu_start_bytes", nullable(usage.Start))
	row.add("gpu_peak_bytes", nullable(usage.Peak))
	row.add("gpu_stack_peak_bytes", nullable(usage.Stack))
	row.add("gpu_samples", nullIfZero(usage.Samples))
	row.add("gpu_interval_s", nullIfZero(usage.Interval.Seconds()))
	row.add("gpu_max_gap_s", nullIfZero(usage.MaxGap.Seconds()))
	row.addJSON("gpu", usage, false)
}

// nullable turns a missing figure into NULL.
func nullable[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}

// nullIfZero is for what is absent when it is zero.
func nullIfZero[T comparable](value T) any {
	var zero T
	if value == zero {
		return nil
	}
	return value
}

func nullUnless[T any](measured bool, value T) any {
	if !measured {
		return nil
	}
	return value
}

func jsonOrNull(value any, missing bool) (any, error) {
	if missing {
		return nil, nil
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// fromJSON reads a column; that of a NULL, "", leaves the value as it is.
func fromJSON(text string, into any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}
