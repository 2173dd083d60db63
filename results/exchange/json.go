package exchange

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
)

// schema is the version of the JSON format. Keys may be added within a
// version; none is removed or changes its meaning.
const schema = 1

type jsonRun struct {
	results.Run
	MeasuringFraction *float64      `json:"measuring_fraction"`
	Repeats           []verdict.End `json:"repeats,omitempty"` // how they ended, of a plan with until
}

type jsonCell struct {
	Cell        string             `json:"cell"`
	Topology    string             `json:"topology"`
	Server      string             `json:"server"`
	Workers     *int               `json:"workers"`
	Threads     *int               `json:"threads"`
	Nginx       bool               `json:"nginx"`
	Axes        map[string]string  `json:"axes,omitempty"`
	Client      string             `json:"client"`
	Pool        int                `json:"pool"`
	Requests    int                `json:"requests"`
	Of          int                `json:"of,omitempty"` // of a search's short cell, the requests of the load that it stands for
	KeepAlive   bool               `json:"keepalive"`
	Rate        *float64           `json:"rate,omitempty"` // of an open loop, requests per second
	Arrivals    string             `json:"arrivals,omitempty"`
	Repeat      int                `json:"repeat"`
	Start       int                `json:"start,omitempty"`  // of the stack, with fresh: run
	Lane        int                `json:"lane,omitempty"`   // that it was measured on, of several: lanes.have of the run
	Reused      string             `json:"reused,omitempty"` // the run that measured it, from which this one took it
	Started     time.Time          `json:"started"`
	Status      string             `json:"status"`
	Reason      string             `json:"reason"`
	OutOfMemory string             `json:"out_of_memory,omitempty"` // gpu or main, of a failed cell
	LogTail     string             `json:"log_tail,omitempty"`
	Flags       []string           `json:"flags"`
	DurationS   *float64           `json:"duration_s"`
	Throughput  *float64           `json:"throughput_rps"`
	Replies     *int               `json:"replies"`
	Errors      *int               `json:"errors"`
	ErrorKinds  map[string]int     `json:"error_kinds"`
	FirstErrors map[string]string  `json:"first_errors,omitempty"`
	LatencyS    *load.Latency      `json:"latency_s"`
	Histogram   []byte             `json:"latency_histogram,omitempty"` // for reading back: the whole of latency_s
	Load        *results.LoadFacts `json:"load"`                        // null when nothing was sent
	GPU         jsonGPU            `json:"gpu"`
	Memory      jsonMemory         `json:"memory"`
	CPU         results.CPU        `json:"cpu"`
	Stack       *results.Stack     `json:"stack"`
	Metrics     map[string]float64 `json:"metrics"` // those that were measured, in base units
}

type jsonGPU struct {
	Method      string     `json:"method"`
	Validity    string     `json:"validity"`
	Reason      string     `json:"reason"`
	BaselineMiB *float64   `json:"device_used_baseline_mib"`
	StartMiB    *float64   `json:"device_used_start_mib"`
	PeakMiB     *float64   `json:"device_used_peak_mib"`
	StackMiB    *float64   `json:"stack_peak_mib"`
	IntervalMS  *float64   `json:"interval_ms"`
	Samples     int        `json:"samples"`
	MaxGapMS    *float64   `json:"max_gap_ms"`
	Detail      *gpu.Usage `json:"detail,omitempty"` // bytes and nanoseconds
}

type jsonMemory struct {
	Method        string             `json:"method"`
	Reason        string             `json:"reason"`
	StackPeakMiB  *float64           `json:"stack_peak_mib"`
	StackStartMiB *float64           `json:"stack_start_mib"`
	KernelPeakMiB *float64           `json:"kernel_peak_mib"`
	ServicesMiB   map[string]float64 `json:"services_mib,omitempty"`
	Samples       int                `json:"samples"`
	MaxGapMS      *float64           `json:"max_gap_ms"`
	Series        []gpu.Point        `json:"series,omitempty"` // bytes, seconds since the gun
}

// WriteJSON prints a run in the format that programs read. Values that a
// scenario may have been given secrets in are replaced. It makes one cell at a
// time: a run may have tens of thousands.
func WriteJSON(w io.Writer, run results.Run, records []results.Record) error {
	counts := run.Count(records)
	head := jsonRun{run, run.MeasuringFraction(), verdict.NewRepeats(run.Plan, records).Ends()}
	if head.GPUDevices == nil {
		head.GPUDevices = []gpu.Device{}
	}
	head.Plan = run.Plan.Redacted()
	out := bufio.NewWriter(w)
	object := jsonObject{w: out}
	object.key("schema", schema)
	object.key("verdict", words.StandingOf(run, &counts).String())
	object.key("run", head)
	object.list("cells", func(yield func(any) bool) {
		for _, r := range records {
			if !yield(newJSONCell(r)) {
				return
			}
		}
	})
	object.key("summaries", newJSONSummaries(run, verdict.SummariseRun(run, records)))
	if search := newJSONSearch(run, records, 0); search != nil {
		object.key("search", search)
	}
	return cmp.Or(object.end(), out.Flush())
}

// A jsonObject is written key by key, indented like what encode writes.
type jsonObject struct {
	w      *bufio.Writer
	opened bool
	err    error // the first
}

func (o *jsonObject) write(text string) {
	if o.err == nil {
		_, o.err = o.w.WriteString(text)
	}
}

func (o *jsonObject) value(v any, indent string) {
	text, err := json.MarshalIndent(v, indent, "  ")
	o.err = cmp.Or(o.err, err)
	o.write(string(text))
}

// name begins what a key is for.
func (o *jsonObject) name(name string) {
	if !o.opened {
		o.write("{")
		o.opened = true
	} else {
		o.write(",")
	}
	o.write("\n  \"" + name + "\": ")
}

func (o *jsonObject) key(name string, v any) {
	o.name(name)
	o.value(v, "  ")
}

// list is a key for values that are made one after the other.
func (o *jsonObject) list(name string, values iter.Seq[any]) {
	o.name(name)
	o.write("[")
	between, end := "\n    ", "]"
	for v := range values {
		o.write(between)
		o.value(v, "    ")
		if between, end = ",\n    ", "\n  ]"; o.err != nil {
			return
		}
	}
	o.write(end)
}

func (o *jsonObject) end() error {
	o.write("\n}\n")
	return o.err
}

func encode(w io.Writer, value any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(value)
}

func newJSONCell(r results.Record) jsonCell {
	cell := jsonCell{
		Cell: r.Cell.Name, Topology: r.Topology.Name, Server: r.Topology.Server,
		Workers: nilIfZero(r.Topology.Workers), Threads: nilIfZero(r.Topology.Threads), Nginx: r.Topology.Nginx(), Axes: r.Topology.Axes,
		Client: r.Cell.Load.Client, Pool: r.Cell.Load.Pool, Requests: r.Cell.Load.Requests, Of: r.Cell.Load.Of,
		KeepAlive: r.Cell.Load.KeepAlive, Arrivals: r.Cell.Load.Arrivals, Repeat: r.Cell.Repeat, Start: r.Start, Lane: r.Lane,
		Reused: r.Reused, Started: r.Started, Status: r.Status, Reason: r.Reason, OutOfMemory: r.OutOfMemory, LogTail: r.LogTail,
		Flags:     slices.Concat([]string{}, r.AllFlags()),
		DurationS: r.Duration, Throughput: r.Throughput(),
		ErrorKinds: map[string]int{}, FirstErrors: r.FirstErrors,
		LatencyS: r.Latency,
		GPU: jsonGPU{
			Method: r.GPU.Method, Validity: r.GPU.Validity, Reason: r.GPU.Reason,
			BaselineMiB: inMiB(r.GPU.Baseline), StartMiB: inMiB(r.GPU.Start),
			PeakMiB: inMiB(r.GPU.Peak), StackMiB: inMiB(r.GPU.Stack),
			IntervalMS: milliseconds(r.GPU.Interval.Seconds()), Samples: r.GPU.Samples,
			MaxGapMS: milliseconds(r.GPU.MaxGap.Seconds()),
		},
		Memory: jsonMemory{
			Method: r.Memory.Method, Reason: r.Memory.Reason,
			StackPeakMiB: inMiB(r.Memory.Peak), StackStartMiB: inMiB(r.Memory.Start), KernelPeakMiB: inMiB(r.Memory.KernelPeak),
			Samples: r.Memory.Samples, MaxGapMS: milliseconds(r.Memory.MaxGap), Series: r.Memory.Series,
		},
		CPU: r.CPU, Stack: r.Stack, Metrics: map[string]float64{},
	}
	for _, m := range results.Metrics() {
		if value := m.Of(&r); value != nil {
			cell.Metrics[m.Name] = *value
		}
	}
	maps.Copy(cell.ErrorKinds, r.ErrorKinds)
	if r.Latency != nil && r.Latency.Count() > 0 {
		// A figure that cannot be written is missing; the others are there.
		cell.Histogram, _ = r.Latency.MarshalBinary()
	}
	if r.Cell.Load.Rate > 0 {
		cell.Rate = &r.Cell.Load.Rate
	}
	if r.Attempted() {
		cell.Replies, cell.Errors, cell.Load = &r.Replies, &r.Errors, &r.Load
	}
	if r.GPU.Validity != "" {
		cell.GPU.Detail = &r.GPU
	}
	for service, bytes := range r.Memory.Services {
		if cell.Memory.ServicesMiB == nil {
			cell.Memory.ServicesMiB = map[string]float64{}
		}
		cell.Memory.ServicesMiB[service] = float64(bytes) / words.MiB
	}
	return cell
}

func inMiB(bytes *int64) *float64 {
	if bytes == nil {
		return nil
	}
	return new(float64(*bytes) / words.MiB)
}

// milliseconds is nil for 0: there was no interval.
func milliseconds(seconds float64) *float64 {
	if seconds == 0 {
		return nil
	}
	return new(1000 * seconds)
}

func nilIfZero(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
