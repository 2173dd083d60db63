package exchange

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios"
)

// maxWhole bounds what is read as a whole, in bytes: a CSV file, or a pipe, which
// cannot be read twice.
const maxWhole = 256 << 20

// An Imported is one run of a file.
type Imported struct {
	Run     results.Run
	Records []results.Record
}

// Read reads a file of results: what WriteJSON made, or CSV as ReadCSV
// reads it. name is the file's, for messages and for Run.Imported; table picks
// one table of a CSV file that has several, "" all of them.
func Read(name string, from io.Reader, table string) ([]Imported, error) {
	file, err := seekable(name, from)
	if err != nil {
		return nil, err
	}
	first, err := firstByte(bufio.NewReader(file))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if first == '{' {
		if table != "" {
			return nil, fmt.Errorf("%s: is JSON and has no tables", name)
		}
		one, err := ReadJSON(name, file)
		if err != nil {
			return nil, err
		}
		return []Imported{one}, nil
	}
	data, err := readWhole(name, file)
	if err != nil {
		return nil, err
	}
	return ReadCSV(name, data, table)
}

// seekable is the file itself, or what a pipe holds.
func seekable(name string, from io.Reader) (io.ReadSeeker, error) {
	if file, ok := from.(io.ReadSeeker); ok {
		if _, err := file.Seek(0, io.SeekCurrent); err == nil {
			return file, nil
		}
	}
	data, err := readWhole(name, from)
	return bytes.NewReader(data), err
}

func readWhole(name string, from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxWhole+1))
	if err == nil && len(data) > maxWhole {
		err = fmt.Errorf("larger than %d MiB, which is what a table or a pipe may have; a JSON file may be larger", maxWhole>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// firstByte is the first that is not a space.
func firstByte(r io.ByteReader) (byte, error) {
	for {
		b, err := r.ReadByte()
		if err != nil || !strings.ContainsRune(" \t\r\n", rune(b)) {
			return b, err
		}
	}
}

// ReadJSON reads what WriteJSON made. Whatever is not in it is missing from
// the records too: the figures that thresholds and comparisons name are all
// there. It reads the file twice, because a cell is read by the run's plan, which
// may come after it, and has one cell of it in memory at a time.
func ReadJSON(name string, file io.ReadSeeker) (Imported, error) {
	var version int
	var head jsonRun
	err := eachKey(name, file, func(d *json.Decoder, key string) error {
		switch key {
		case "schema":
			return d.Decode(&version)
		case "run":
			return d.Decode(&head)
		}
		return skip(d, key)
	})
	if err != nil {
		return Imported{}, err
	}
	if version != schema || head.Run.ID == "" {
		return Imported{}, fmt.Errorf("%s: not a result of stackmeter in the format of schema %d: write one with stackmeter report --format json", name, schema)
	}
	run := head.Run
	run.Planned = cmp.Or(run.Planned, run.Plan.Cells()) // older files do not say
	if err := checkFacts(runFacts(head)); err != nil {
		return Imported{}, fmt.Errorf("%s: %w", name, err)
	}
	cells := newCellReader(run)
	one := Imported{Run: run}
	err = eachKey(name, file, func(d *json.Decoder, key string) error {
		if key != "cells" {
			return skip(d, key)
		}
		return eachElement(d, func() error {
			var text json.RawMessage
			if err := d.Decode(&text); err != nil {
				return err
			}
			record, err := cells.read(text)
			if err != nil {
				return &cellError{fmt.Errorf("%s: cells[%d]%w", name, len(one.Records), err)}
			}
			one.Records = append(one.Records, record)
			return nil
		})
	})
	return one, err
}

// A cellError says what is wrong with a cell, and where that is.
type cellError struct{ error }

// eachKey calls do with the decoder at the value of each key of the object that the
// file holds.
func eachKey(name string, file io.ReadSeeker, do func(d *json.Decoder, key string) error) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d := json.NewDecoder(file)
	seen := map[string]bool{}
	err := func() error {
		if _, err := d.Token(); err != nil {
			return err
		}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			text := key.(string) // of an object that is what the decoder gives
			if seen[text] {
				return fmt.Errorf("%q is there twice", text)
			}
			seen[text] = true
			if err := do(d, text); err != nil {
				return err
			}
		}
		if _, err := d.Token(); err != nil {
			return err
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return errors.New("there is more after the end of the result")
		}
		return nil
	}()
	if inCell := (*cellError)(nil); err == nil || errors.As(err, &inCell) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s:%d: not a result of stackmeter: %w", name, lineOf(file, d.InputOffset()), err)
}

// eachElement calls do with the decoder at each element of the list that it is at.
// null is a list of none.
func eachElement(d *json.Decoder, do func() error) error {
	switch token, err := d.Token(); {
	case err != nil:
		return err
	case token == nil:
		return nil
	case token != json.Delim('['):
		return fmt.Errorf("%v is not a list", token)
	}
	for d.More() {
		if err := do(); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// skip goes past the value of a key, an element at a time where there may be many.
func skip(d *json.Decoder, key string) error {
	var none ignored
	if key == "cells" || key == "summaries" {
		return eachElement(d, func() error { return d.Decode(&none) })
	}
	return d.Decode(&none)
}

// ignored is read from any JSON.
type ignored struct{}

func (*ignored) UnmarshalJSON([]byte) error { return nil }

// lineOf is the line of an offset, 1 when the file cannot be read.
func lineOf(file io.ReadSeeker, offset int64) int {
	line := 1
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return line
	}
	for r := bufio.NewReader(io.LimitReader(file, offset)); ; {
		switch b, err := r.ReadByte(); {
		case err != nil:
			return line
		case b == '\n':
			line++
		}
	}
}

// A cellReader makes records of the cells of a run.
type cellReader struct {
	run        results.Run
	topologies map[string]scenarios.Topology
	loads      map[string]scenarios.LoadSpec
	seen       map[results.Key]bool
}

func newCellReader(run results.Run) *cellReader {
	r := &cellReader{run: run, topologies: map[string]scenarios.Topology{}, loads: map[string]scenarios.LoadSpec{}, seen: map[results.Key]bool{}}
	for _, trial := range run.Plan.Trials {
		r.topologies[trial.Topology.Name] = trial.Topology
		for _, cell := range trial.Cells {
			r.loads[cell.Name] = cell.Load
		}
	}
	return r
}

// read makes a record of a cell. Its error begins with a space, and the cell's name
// where that is known.
func (r *cellReader) read(text []byte) (results.Record, error) {
	var cell jsonCell
	var said struct {
		Latency map[string]*float64 `json:"latency_s"`
	}
	if err := errors.Join(json.Unmarshal(text, &cell), json.Unmarshal(text, &said)); err != nil {
		return results.Record{}, fmt.Errorf(": %w", err)
	}
	record, err := readCell(cell, said.Latency, r.topologies, r.loads)
	if err == nil {
		err = allowed(&record, r.run.Plan.Request.MaxErrors)
	}
	if err == nil && r.seen[record.Key()] {
		err = errors.New("is there twice")
	}
	if err != nil {
		return results.Record{}, fmt.Errorf(" (%s, repeat %d): %w", cell.Cell, cell.Repeat, err)
	}
	r.seen[record.Key()] = true
	record.Run = r.run.ID
	return record, nil
}

// readCell makes a record of a cell. latency is its latency_s, for which the
// record has the histogram.
func readCell(c jsonCell, latency map[string]*float64, topologies map[string]scenarios.Topology, loads map[string]scenarios.LoadSpec) (results.Record, error) {
	if c.Cell == "" || c.Topology == "" || c.Repeat < 1 || c.Requests < 1 {
		return results.Record{}, errors.New("cell, topology, requests and repeat have to be there")
	}
	if !results.KnownStatus(c.Status) {
		return results.Record{}, fmt.Errorf("status %q: there is ok, failed and pruned", c.Status)
	}
	topology, known := topologies[c.Topology]
	if !known {
		topology = scenarios.Topology{Name: c.Topology, Server: c.Server, Workers: valueOf(c.Workers), Threads: valueOf(c.Threads)}
		topology.SetAxes(c.Nginx, c.Axes)
	} else if c.Server != topology.Server || valueOf(c.Workers) != topology.Workers || valueOf(c.Threads) != topology.Threads ||
		c.Nginx != topology.Nginx() || c.Axes != nil && !maps.Equal(c.Axes, topology.Axes) { // older files do not say the axes
		return results.Record{}, errors.New("server, workers, threads, nginx and axes are not those of the run's plan")
	}
	spec, known := loads[c.Cell]
	if !known {
		spec = scenarios.LoadSpec{Requests: c.Requests, Of: c.Of, Client: c.Client, Pool: c.Pool, KeepAlive: c.KeepAlive, Rate: valueOf(c.Rate), Arrivals: c.Arrivals}
	}
	if spec.Requests != c.Requests || spec.Of != c.Of || spec.Client != c.Client || spec.Pool != c.Pool || spec.KeepAlive != c.KeepAlive {
		return results.Record{}, errors.New("client, pool, requests and keepalive are not those of the run's plan")
	}
	r := results.Record{
		Topology: topology, Cell: scenarios.Cell{Name: c.Cell, Repeat: c.Repeat, Load: spec}, Reused: c.Reused, Started: c.Started,
		Status: c.Status, Reason: c.Reason, OutOfMemory: c.OutOfMemory, LogTail: c.LogTail, Duration: c.DurationS,
		Replies: valueOf(c.Replies), Errors: valueOf(c.Errors), FirstErrors: c.FirstErrors, CPU: c.CPU, Stack: c.Stack, Start: c.Start, Lane: c.Lane,
		Memory: results.Memory{
			Method: c.Memory.Method, Reason: c.Memory.Reason, Samples: c.Memory.Samples, MaxGap: valueOf(c.Memory.MaxGapMS) / 1000,
			Peak: fromMiB(c.Memory.StackPeakMiB), Start: fromMiB(c.Memory.StackStartMiB), KernelPeak: fromMiB(c.Memory.KernelPeakMiB),
			Series: c.Memory.Series,
		},
	}
	for service, bytes := range c.Memory.ServicesMiB {
		if r.Memory.Services == nil {
			r.Memory.Services = map[string]int64{}
		}
		r.Memory.Services[service] = *fromMiB(&bytes)
	}
	if len(c.ErrorKinds) > 0 {
		r.ErrorKinds = c.ErrorKinds
	}
	if c.Load != nil {
		r.Load = *c.Load
	}
	if c.GPU.Detail != nil {
		r.GPU = *c.GPU.Detail
	} else {
		r.GPU.Method, r.GPU.Reason, r.GPU.Validity = c.GPU.Method, c.GPU.Reason, c.GPU.Validity
	}
	if c.GPU.Validity != r.GPU.Validity {
		return results.Record{}, fmt.Errorf("gpu.validity cannot be %s: gpu.detail says %s", said(c.GPU.Validity), said(r.GPU.Validity))
	}
	r.Flags = slices.DeleteFunc(c.Flags, func(f string) bool { return slices.Contains(r.GPU.Flags, f) })
	if len(r.Flags) == 0 {
		r.Flags = nil
	}
	if len(c.Histogram) > 0 {
		r.Latency = new(load.Latency)
		if err := r.Latency.UnmarshalBinary(c.Histogram); err != nil {
			return results.Record{}, err
		}
	}
	metrics, figures := map[string]float64{}, map[string]float64{}
	for _, f := range results.Figures() {
		if given, known := c.Metrics[f.Name]; known {
			metrics[f.Column] = given
			if f.Of(&r) == nil {
				f.Set(&r, given)
			}
		}
	}
	for column, value := range map[string]*float64{
		"throughput_rps": c.Throughput, "gpu_peak_bytes": inBytes(c.GPU.PeakMiB), "gpu_start_bytes": inBytes(c.GPU.StartMiB), "gpu_stack_peak_bytes": inBytes(c.GPU.StackMiB),
	} {
		if value != nil {
			figures[column] = *value
		}
	}
	for name, value := range latency {
		if value != nil {
			figures["latency_"+name+"_s"] = *value
		}
	}
	return r, checkRecord(&r, metrics, figures)
}

func valueOf[T any](value *T) T {
	if value == nil {
		var zero T
		return zero
	}
	return *value
}

func inBytes(mib *float64) *float64 {
	if mib == nil {
		return nil
	}
	return new(*mib * words.MiB)
}

func fromMiB(value *float64) *int64 {
	if value == nil {
		return nil
	}
	return new(int64(math.Round(*value * words.MiB)))
}
