package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
)

// A column is a column of a table, or in a SELECT an expression, with the
// place of its value: what an INSERT writes, and where a SELECT puts what it
// reads.
type column struct {
	name  string
	value any // a pointer, or one of the types below
}

// runColumns are the columns of a run that are written and read.
func runColumns(r *results.Run) []column {
	started := &r.Started
	return []column{
		{"id", &r.ID},
		{"scenario", &r.Scenario},
		{"started", moment(&started)},
		{"finished", moment(&r.Finished)},
		{"outcome", &r.Outcome},
		{"verdict", &r.Verdict},
		{"against", &r.Against},
		{"imported", &r.Imported},
		{"planned", &r.Planned},
		{"runtime", &r.Runtime},
		{"fingerprint", &r.Fingerprint},
		{"owner", &r.Owner},
		{"file", &r.File},
		{"host", inJSON(&r.Host, false)},
		{"gpu_devices", zeroIsNullInJSON(&r.GPUDevices)},
		{"images", zeroIsNullInJSON(&r.Images)},
		{"lanes", zeroIsNullInJSON(&r.Lanes)},
		{"checks", zeroIsNullInJSON(&r.Checks)},
		{"answers", zeroIsNullInJSON(&r.Answers)},
		{"plan", inJSON(&r.Plan, false)},
	}
}

// wholeRun are the columns of a run with what other tables say about it, of runsCounted.
func (d *Dialect) wholeRun(r *results.Run) []column {
	r.Counts = &results.Counts{}
	return append(runColumns(r),
		column{"planned", &r.Counts.Planned},
		column{"ok", zeroIsNull(&r.Counts.OK)},
		column{"CASE WHEN searches THEN failed ELSE failed + out_of_memory END", zeroIsNull(&r.Counts.Failed)},
		column{"CASE WHEN searches THEN 0 ELSE pruned END", zeroIsNull(&r.Counts.Pruned)},
		column{"CASE WHEN searches THEN pruned + out_of_memory ELSE 0 END", zeroIsNull(&r.Counts.Closed)},
		column{d.Spent, zeroIsNullInJSON(&r.Spent)},
		column{d.Tags, zeroIsNullInJSON(&r.Tags)})
}

// runsCounted are the runs with their counts. Where those of one are lost, in a damaged
// store, the run is not.
const runsCounted = "runs LEFT JOIN counts ON counts.run = runs.id"

// namesOfRun are the columns that results.FindRun looks at.
func (d *Dialect) namesOfRun(r *results.Run) []column {
	return []column{{"id", &r.ID}, {"scenario", &r.Scenario}, {"verdict", &r.Verdict}, {d.Tags, zeroIsNullInJSON(&r.Tags)}}
}

// cellColumns are the columns of a record that are written and read. The figures
// come last: what they follow from is there when they are read.
func cellColumns(r *results.Record) []column {
	l, m := &r.Cell.Load, &r.Memory
	started := &r.Started
	columns := []column{
		{"cell", &r.Cell.Name},
		{"run", &r.Run},
		{"repeat", &r.Cell.Repeat},
		{"client", &l.Client},
		{"pool", &l.Pool},
		{"requests", &l.Requests},
		{"of", zeroIsNull(&l.Of)},
		{"keepalive", &l.KeepAlive},
		{"rate", zeroIsNull(&l.Rate)},
		{"arrivals", zeroIsNull(&l.Arrivals)},
		{"search_p99_s", seconds(&l.P99)},
		{"started", moment(&started)},
		{"status", &r.Status},
		{"reason", &r.Reason},
		{"log_tail", &r.LogTail},
		{"out_of_memory", zeroIsNull(&r.OutOfMemory)},
		{"flags", zeroIsNullInJSON(&r.Flags)},
		{"fingerprint", zeroIsNull(&r.Fingerprint)},
		{"reused", zeroIsNull(&r.Reused)},
		{"error_kinds", zeroIsNullInJSON(&r.ErrorKinds)},
		{"first_errors", zeroIsNullInJSON(&r.FirstErrors)},
		{"latency", histogram(&r.Latency)},
		{"gpu", zeroIsNullInJSON(&r.GPU)},
		{"memory_method", zeroIsNull(&m.Method)},
		{"memory_services", zeroIsNullInJSON(&m.Services)},
		{"memory_reason", zeroIsNull(&m.Reason)},
		{"memory_series", zeroIsNullInJSON(&m.Series)},
		{"load", inJSON(&r.Load, !r.Attempted())},
	}
	for _, f := range results.Figures() {
		columns = append(columns, column{f.Column, figure(f, r)})
	}
	return columns
}

// timeColumns are the times of a record's stack.
func timeColumns(r *results.Record) []column {
	return []column{
		{"start_s", stackTime(r, func(s *results.Stack) **float64 { return &s.StartS })},
		{"ready_s", stackTime(r, func(s *results.Stack) **float64 { return &s.ReadyS })},
		{"warmup_s", stackTime(r, func(s *results.Stack) **float64 { return &s.WarmupS })},
	}
}

// wholeRecords returns what gives the columns of a record with its facts, which come
// before the times of the stack that they describe. Records that have a fact in common
// share it in memory, too.
func wholeRecords() func(*results.Record) []column {
	topologies, stacks := map[string]scenarios.Topology{}, map[string]results.Stack{}
	return func(r *results.Record) []column {
		return slices.Concat(cellColumns(r), []column{
			{"(SELECT json FROM facts WHERE sha256 = topology_facts)", fact(topologies, func(t scenarios.Topology) { r.Topology = t })},
			{"(SELECT json FROM facts WHERE sha256 = stack_facts)", fact(stacks, func(s results.Stack) { r.Stack = &s })},
		}, timeColumns(r))
	}
}

// fact is read from JSON. Of the same text it is decoded once.
func fact[T any](known map[string]T, set func(T)) place[string] {
	return place[string]{set: func(text string) error {
		value, again := known[text]
		if !again {
			if err := json.Unmarshal([]byte(text), &value); err != nil {
				return err
			}
			known[text] = value
		}
		set(value)
		return nil
	}}
}

// briefRecord are the columns that say whether a cell has to be measured.
func briefRecord(r *results.Record) []column {
	brief := []column{{"topology", &r.Topology.Name}}
	for _, c := range slices.Concat(cellColumns(r), timeColumns(r)) {
		if slices.Contains([]string{"run", "cell", "repeat", "status", "errors", "duration_s", "out_of_memory", "warmup_s", "start"}, c.name) {
			brief = append(brief, c)
		}
	}
	return brief
}

// derivedColumns are only written: people ask for them, and they follow from
// the rest.
func derivedColumns(r *results.Record) []column {
	t, u := &r.Topology, &r.GPU
	return []column{
		{"topology", t.Name},
		{"server", t.Server},
		{"workers", zeroIsNull(&t.Workers)},
		{"threads", zeroIsNull(&t.Threads)},
		{"nginx", t.Nginx()},
		{"axes", zeroIsNullInJSON(&t.Axes)},
		{"gpu_validity", zeroIsNull(&u.Validity)},
		{"gpu_reason", zeroIsNull(&u.Reason)},
		{"gpu_flags", zeroIsNullInJSON(&u.Flags)},
		{"gpu_method", zeroIsNull(&u.Method)},
		{"hand", zeroIsNull(&r.Load.Hand)},
	}
}

// observation are the columns of a metric of a record.
func observation(m results.Figure) func(*results.Observation) []column {
	return func(o *results.Observation) []column {
		return []column{
			{"cell", &o.Cell}, {"run", &o.Run}, {"repeat", &o.Repeat},
			{"status = 'ok' AND coalesce(errors, 0) = 0", &o.Clean},
			{m.Column, &o.Value},
		}
	}
}

// insert writes a row into a table, over the one with the same key if there is a key.
func insert(ctx context.Context, tx Tx, table string, columns []column, key ...string) error {
	names, values := namesOf(columns), valuesOf(columns)
	statement := "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(names)-1) + ")"
	if len(key) > 0 {
		var set []string
		for _, name := range names {
			if !slices.Contains(key, name) {
				set = append(set, name+" = excluded."+name)
			}
		}
		statement += " ON CONFLICT (" + strings.Join(key, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
	}
	_, err := tx.exec(ctx, statement, values...)
	return err
}

// query reads rows. On an error it returns those before it. The error names the
// row by its first column, which is a text.
func query[T any](ctx context.Context, tx Tx, columns func(*T) []column, from string, args ...any) ([]T, error) {
	rows, err := tx.query(ctx, "SELECT "+strings.Join(namesOf(columns(new(T))), ", ")+" FROM "+from, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var one T
		values := valuesOf(columns(&one))
		if err := rows.Scan(values...); err != nil {
			if short := rows.Err(); short != nil { // of a context that is over, say
				return all, short
			}
			return all, fmt.Errorf("%w: %s: %v", results.ErrDamaged, *values[0].(*string), err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func namesOf(columns []column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

func valuesOf(columns []column) []any {
	values := make([]any, len(columns))
	for i, c := range columns {
		values[i] = c.value
	}
	return values
}

// A place is where a value is written from and read to. NULL is written for nil,
// and leaves what it is read to as it is.
type place[T any] struct {
	get func() (any, error)
	set func(T) error
}

func (p place[T]) Value() (driver.Value, error) { return p.get() }

func (p place[T]) Scan(from any) error {
	var read sql.Null[T]
	if err := read.Scan(from); err != nil || !read.Valid {
		return err
	}
	return p.set(read.V)
}

// zeroIsNull is for what is absent when it is zero.
func zeroIsNull[T comparable](value *T) place[T] {
	return place[T]{func() (any, error) {
		var zero T
		if *value == zero {
			return nil, nil
		}
		return driver.DefaultParameterConverter.ConvertValue(*value)
	}, func(read T) error {
		*value = read
		return nil
	}}
}

// inJSON is a value, given by a pointer to it, that is written as JSON.
func inJSON(value any, null bool) place[string] {
	return place[string]{func() (any, error) {
		if null {
			return nil, nil
		}
		text, err := json.Marshal(value)
		return string(text), err
	}, func(text string) error { return json.Unmarshal([]byte(text), value) }}
}

// zeroIsNullInJSON makes NULL of nil, which is not the same as an empty list or
// map, and of a struct without anything in it.
func zeroIsNullInJSON(value any) place[string] {
	return inJSON(value, reflect.ValueOf(value).Elem().IsZero())
}

// timeLayout is RFC 3339 with all nine digits, so that times sort as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// moment is a time, which may be nil.
func moment(value **time.Time) place[string] {
	return place[string]{func() (any, error) {
		if *value == nil {
			return nil, nil
		}
		return formatTime(**value), nil
	}, func(text string) error {
		at, err := time.Parse(timeLayout, text)
		if *value == nil {
			*value = new(time.Time)
		}
		**value = at.UTC()
		return err
	}}
}

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// float is a number, which may be nil.
func float(get func() *float64, set func(float64)) place[float64] {
	return place[float64]{func() (any, error) {
		if v := get(); v != nil {
			return *v, nil
		}
		return nil, nil
	}, func(v float64) error {
		set(v)
		return nil
	}}
}

// seconds are a duration, NULL when it is 0.
func seconds(value *time.Duration) place[float64] {
	return float(func() *float64 {
		if *value == 0 {
			return nil
		}
		return new(value.Seconds())
	}, func(s float64) { *value = time.Duration(math.Round(s * 1e9)) })
}

// histogram is latencies, which may be nil.
func histogram(value **load.Latency) place[[]byte] {
	return place[[]byte]{func() (any, error) {
		if *value == nil {
			return nil, nil
		}
		return (*value).MarshalBinary()
	}, func(encoded []byte) error {
		*value = new(load.Latency)
		return (*value).UnmarshalBinary(encoded)
	}}
}

// figure is one of the figures of a record.
func figure(of results.Figure, record *results.Record) place[float64] {
	return place[float64]{func() (any, error) {
		switch v := of.Of(record); {
		case v == nil:
			return nil, nil
		case of.Whole():
			return int64(*v), nil
		default:
			return *v, nil
		}
	}, func(v float64) error {
		of.Set(record, v)
		return nil
	}}
}

// stackTime is one of the times of a record's stack.
func stackTime(record *results.Record, of func(*results.Stack) **float64) place[float64] {
	return float(func() *float64 {
		if record.Stack == nil {
			return nil
		}
		return *of(record.Stack)
	}, func(v float64) {
		if record.Stack == nil {
			record.Stack = new(results.Stack)
		}
		*of(record.Stack) = &v
	})
}
