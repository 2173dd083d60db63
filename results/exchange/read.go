package exchange

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios"
)

// MaxReadSize bounds a file of results, in bytes.
const MaxReadSize = 256 << 20

// An Imported is one run of a file.
type Imported struct {
	Run     results.Run
	Records []results.Record
}

// Read reads a file of results: what WriteJSON made, or CSV as ReadCSV
// reads it. name is the file's, for messages and for Run.Imported; table picks
// one table of a CSV file that has several, "" all of them.
func Read(name string, data []byte, table string) ([]Imported, error) {
	if len(data) > MaxReadSize {
		return nil, fmt.Errorf("%s: larger than %d MiB", name, MaxReadSize>>20)
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if table != "" {
			return nil, fmt.Errorf("%s: is JSON and has no tables", name)
		}
		one, err := ReadJSON(name, data)
		if err != nil {
			return nil, err
		}
		return []Imported{one}, nil
	}
	return ReadCSV(name, data, table)
}

// ReadJSON reads what WriteJSON made. Whatever is not in it is missing from
// the records too: the figures that thresholds and comparisons name are all
// there.
func ReadJSON(name string, data []byte) (Imported, error) {
	var read jsonReport
	if err := json.Unmarshal(data, &read); err != nil {
		return Imported{}, fmt.Errorf("%s:%d: not a result of stackmeter: %w", name, lineOf(data, err), err)
	}
	var said struct {
		Cells []struct {
			Latency map[string]*float64 `json:"latency_s"`
		}
	}
	if err := json.Unmarshal(data, &said); err != nil {
		return Imported{}, fmt.Errorf("%s:%d: not a result of stackmeter: %w", name, lineOf(data, err), err)
	}
	if read.Schema != schema || read.Run.ID == "" {
		return Imported{}, fmt.Errorf("%s: not a result of stackmeter in the format of schema %d: write one with stackmeter report --format json", name, schema)
	}
	run := read.Run.Run
	run.Planned = cmp.Or(run.Planned, run.Plan.Cells()) // older files do not say
	if err := checkFacts(runFacts(read.Run)); err != nil {
		return Imported{}, fmt.Errorf("%s: %w", name, err)
	}
	one := Imported{Run: run}
	topologies := map[string]scenarios.Topology{}
	loads := map[string]scenarios.LoadSpec{}
	for _, trial := range run.Plan.Trials {
		topologies[trial.Topology.Name] = trial.Topology
		for _, cell := range trial.Cells {
			loads[cell.Name] = cell.Load
		}
	}
	seen := map[results.Key]bool{}
	for i, cell := range read.Cells {
		record, err := readCell(cell, said.Cells[i].Latency, topologies, loads)
		if err == nil {
			err = allowed(&record, run.Plan.Request.MaxErrors)
		}
		if err == nil && seen[record.Key()] {
			err = errors.New("is there twice")
		}
		if err != nil {
			return Imported{}, fmt.Errorf("%s: cells[%d] (%s, repeat %d): %w", name, i, cell.Cell, cell.Repeat, err)
		}
		seen[record.Key()] = true
		record.Run = run.ID
		one.Records = append(one.Records, record)
	}
	return one, nil
}

// lineOf is where JSON went wrong, 1 when that is not known.
func lineOf(data []byte, err error) int {
	offset := int64(0)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte("\n"))
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
		spec = scenarios.LoadSpec{Requests: c.Requests, Client: c.Client, Pool: c.Pool, KeepAlive: c.KeepAlive, Rate: valueOf(c.Rate), Arrivals: c.Arrivals}
	}
	if spec.Requests != c.Requests || spec.Client != c.Client || spec.Pool != c.Pool || spec.KeepAlive != c.KeepAlive {
		return results.Record{}, errors.New("client, pool, requests and keepalive are not those of the run's plan")
	}
	r := results.Record{
		Topology: topology, Cell: scenarios.Cell{Name: c.Cell, Repeat: c.Repeat, Load: spec}, Started: c.Started,
		Status: c.Status, Reason: c.Reason, OutOfMemory: c.OutOfMemory, LogTail: c.LogTail, Duration: c.DurationS,
		Replies: valueOf(c.Replies), Errors: valueOf(c.Errors), FirstErrors: c.FirstErrors, CPU: c.CPU, Stack: c.Stack, Start: c.Start,
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
