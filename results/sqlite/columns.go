package sqlite

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
		{"started", moment{&started}},
		{"finished", moment{&r.Finished}},
		{"outcome", &r.Outcome},
		{"verdict", &r.Verdict},
		{"against", &r.Against},
		{"imported", &r.Imported},
		{"planned", &r.Planned},
		{"runtime", &r.Runtime},
		{"fingerprint", &r.Fingerprint},
		{"owner", &r.Owner},
		{"file", &r.File},
		{"host", inJSON{&r.Host, false}},
		{"gpu_devices", zeroIsNullInJSON(&r.GPUDevices)},
		{"images", zeroIsNullInJSON(&r.Images)},
		{"checks", zeroIsNullInJSON(&r.Checks)},
		{"plan", inJSON{&r.Plan, false}},
	}
}

// wholeRun are the columns of a run with what other tables say about it.
func wholeRun(r *results.Run) []column {
	r.Counts = &results.Counts{}
	return append(runColumns(r),
		column{"planned", &r.Counts.Planned},
		column{"(SELECT count(*) FROM cells WHERE run = id AND status = 'ok')", &r.Counts.OK},
		column{"(SELECT count(*) FROM cells WHERE run = id AND status = 'failed')", &r.Counts.Failed},
		column{"(SELECT count(*) FROM cells WHERE run = id AND status = 'pruned')", &r.Counts.Pruned},
		column{"(SELECT nullif(json_group_object(phase, seconds), '{}') FROM spent WHERE run = id)", zeroIsNullInJSON(&r.Spent)},
		tagsColumn(r))
}

// namesOfRun are the columns that results.FindRun looks at.
func namesOfRun(r *results.Run) []column {
	return []column{{"id", &r.ID}, {"scenario", &r.Scenario}, {"verdict", &r.Verdict}, tagsColumn(r)}
}

func tagsColumn(r *results.Run) column {
	return column{"(SELECT nullif(json_group_array(tag ORDER BY tag), '[]') FROM tags WHERE run = id)", zeroIsNullInJSON(&r.Tags)}
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
		{"keepalive", &l.KeepAlive},
		{"rate", zeroIsNull(&l.Rate)},
		{"arrivals", zeroIsNull(&l.Arrivals)},
		{"search_p99_s", seconds{&l.P99}},
		{"started", moment{&started}},
		{"status", &r.Status},
		{"reason", &r.Reason},
		{"log_tail", &r.LogTail},
		{"out_of_memory", zeroIsNull(&r.OutOfMemory)},
		{"flags", zeroIsNullInJSON(&r.Flags)},
		{"error_kinds", zeroIsNullInJSON(&r.ErrorKinds)},
		{"first_errors", zeroIsNullInJSON(&r.FirstErrors)},
		{"latency", histogram{&r.Latency}},
		{"gpu", zeroIsNullInJSON(&r.GPU)},
		{"memory_method", zeroIsNull(&m.Method)},
		{"memory_services", zeroIsNullInJSON(&m.Services)},
		{"memory_reason", zeroIsNull(&m.Reason)},
		{"memory_series", zeroIsNullInJSON(&m.Series)},
		{"load", inJSON{&r.Load, !r.Attempted()}},
	}
	for _, f := range results.Figures() {
		columns = append(columns, column{f.Column, figure{f, r}})
	}
	return columns
}

// timeColumns are the times of a record's stack.
func timeColumns(r *results.Record) []column {
	return []column{
		{"start_s", stackTime{r, func(s *results.Stack) **float64 { return &s.StartS }}},
		{"ready_s", stackTime{r, func(s *results.Stack) **float64 { return &s.ReadyS }}},
		{"warmup_s", stackTime{r, func(s *results.Stack) **float64 { return &s.WarmupS }}},
	}
}

// wholeRecord are the columns of a record with its facts, which come before
// the times of the stack that they describe.
func wholeRecord(r *results.Record) []column {
	return slices.Concat(cellColumns(r), []column{
		{"(SELECT json FROM facts WHERE sha256 = topology_facts)", inJSON{&r.Topology, false}},
		{"(SELECT json FROM facts WHERE sha256 = stack_facts)", zeroIsNullInJSON(&r.Stack)},
	}, timeColumns(r))
}

// briefRecord are the columns that say whether a cell has to be measured.
func briefRecord(r *results.Record) []column {
	brief := []column{{"topology", &r.Topology.Name}}
	for _, c := range slices.Concat(cellColumns(r), timeColumns(r)) {
		if slices.Contains([]string{"run", "cell", "repeat", "status", "errors", "duration_s", "out_of_memory", "warmup_s"}, c.name) {
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
		{"nginx", t.Nginx},
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

// insert executes an INSERT of one row: into is its beginning.
func insert(ctx context.Context, conn *sql.Conn, into string, columns []column) error {
	names, values := namesOf(columns), valuesOf(columns)
	_, err := conn.ExecContext(ctx, into+" ("+strings.Join(names, ", ")+") VALUES (?"+strings.Repeat(", ?", len(names)-1)+")", values...)
	return err
}

// query reads rows. On an error it returns those before it. The error names the
// row by its first column, which is a text.
func query[T any](ctx context.Context, conn *sql.Conn, columns func(*T) []column, from string, args ...any) ([]T, error) {
	rows, err := conn.QueryContext(ctx, "SELECT "+strings.Join(namesOf(columns(new(T))), ", ")+" FROM "+from, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var one T
		values := valuesOf(columns(&one))
		if err := rows.Scan(values...); err != nil {
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

// A nullable value is NULL where null says so when it is written, and zero
// where it is read from a NULL.
type nullable[T any] struct {
	value *T
	null  bool
}

// zeroIsNull is for what is absent when it is zero.
func zeroIsNull[T comparable](value *T) nullable[T] {
	var zero T
	return nullable[T]{value, *value == zero}
}

func (n nullable[T]) Value() (driver.Value, error) {
	if n.null {
		return nil, nil
	}
	return driver.DefaultParameterConverter.ConvertValue(*n.value)
}

func (n nullable[T]) Scan(from any) error {
	var read sql.Null[T]
	err := read.Scan(from)
	*n.value = read.V
	return err
}

// inJSON is a value that is written as JSON.
type inJSON struct {
	value any // a pointer to it
	null  bool
}

// zeroIsNullInJSON makes NULL of nil, which is not the same as an empty list or
// map, and of a struct without anything in it.
func zeroIsNullInJSON(value any) inJSON { return inJSON{value, reflect.ValueOf(value).Elem().IsZero()} }

func (j inJSON) Value() (driver.Value, error) {
	if j.null {
		return nil, nil
	}
	text, err := json.Marshal(j.value)
	return string(text), err
}

func (j inJSON) Scan(from any) error {
	var text sql.NullString
	if err := text.Scan(from); err != nil || !text.Valid {
		return err
	}
	return json.Unmarshal([]byte(text.String), j.value)
}

// timeLayout is RFC 3339 with all nine digits, so that times sort as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// A moment is a time, which may be nil.
type moment struct{ value **time.Time }

func (m moment) Value() (driver.Value, error) {
	if *m.value == nil {
		return nil, nil
	}
	return formatTime(**m.value), nil
}

func (m moment) Scan(from any) error {
	var text sql.NullString
	if err := text.Scan(from); err != nil || !text.Valid {
		return err
	}
	at, err := time.Parse(timeLayout, text.String)
	if *m.value == nil {
		*m.value = new(time.Time)
	}
	**m.value = at.UTC()
	return err
}

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// seconds are a duration, NULL when it is 0.
type seconds struct{ value *time.Duration }

func (s seconds) Value() (driver.Value, error) {
	if *s.value == 0 {
		return nil, nil
	}
	return s.value.Seconds(), nil
}

func (s seconds) Scan(from any) error {
	var read sql.NullFloat64
	err := read.Scan(from)
	*s.value = time.Duration(math.Round(read.Float64 * 1e9))
	return err
}

// A histogram is latencies, which may be nil.
type histogram struct{ value **load.Latency }

func (h histogram) Value() (driver.Value, error) {
	if *h.value == nil {
		return nil, nil
	}
	return (*h.value).MarshalBinary()
}

func (h histogram) Scan(from any) error {
	if from == nil {
		return nil
	}
	encoded, ok := from.([]byte)
	if !ok {
		return fmt.Errorf("a histogram cannot be a %T", from)
	}
	*h.value = new(load.Latency)
	return (*h.value).UnmarshalBinary(encoded)
}

// A figure is one of the figures of a record.
type figure struct {
	of     results.Figure
	record *results.Record
}

func (f figure) Value() (driver.Value, error) {
	v := f.of.Of(f.record)
	switch {
	case v == nil:
		return nil, nil
	case f.of.Whole():
		return int64(*v), nil
	}
	return *v, nil
}

func (f figure) Scan(from any) error {
	var read sql.Null[float64]
	if err := read.Scan(from); err != nil || !read.Valid {
		return err
	}
	f.of.Set(f.record, read.V)
	return nil
}

// A stackTime is one of the times of a record's stack.
type stackTime struct {
	record *results.Record
	of     func(*results.Stack) **float64
}

func (s stackTime) Value() (driver.Value, error) {
	if s.record.Stack == nil || *s.of(s.record.Stack) == nil {
		return nil, nil
	}
	return **s.of(s.record.Stack), nil
}

func (s stackTime) Scan(from any) error {
	var read sql.Null[float64]
	if err := read.Scan(from); err != nil || !read.Valid {
		return err
	}
	if s.record.Stack == nil {
		s.record.Stack = new(results.Stack)
	}
	*s.of(s.record.Stack) = &read.V
	return nil
}
