// Package results holds what was measured: a Run with one Record for each cell
// and repeat, the table of figures that a record has, and the Store that keeps
// them. Package verdict draws the conclusions.
//
// Everything is in base units, such as seconds and bytes, and scaled when it is
// printed. A pointer is nil if nothing was measured. A number and its validity
// are separate: a record can have a duration and still be flagged.
package results

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// Statuses of a record.
const (
	StatusOK     = "ok"
	StatusFailed = "failed" // Reason says why
	StatusPruned = "pruned" // not started, because a smaller topology ran out of memory; Reason says which
)

// Flags of a record: doubts about its figures.
const (
	FlagInherited    = "inherited"      // the cell began above the stack's warmed-up memory
	FlagErrors       = "errors"         // some answers were not as expected
	FlagNoGPU        = "no-gpu"         // the scenario says auto, and there is no GPU
	FlagNoAgent      = "no-agent"       // no agent ran on the stack's machine, which is another one: its memory is what the stack itself can see
	FlagPublished    = "published-port" // the engine's proxy is part of what was measured
	FlagUnsettled    = "unsettled"      // the stack was still busy by itself when the cell began
	FlagRepeated     = "repeated"       // an earlier measurement of the cell was void, for a reason outside the stack
	FlagRecycled     = "recycled"       // a server replaced workers during the cell, on purpose or for a reason that it did not tell
	FlagUnwatched    = "unwatched"      // the stack's memory was not sampled for more than half a second
	FlagUnverified   = "unverified"     // a fact of the stack could not be read back and compared with the scenario
	FlagClientBeside = "client-beside"  // the client was on the stack's node, because no other node of the cluster took it
	FlagNeighbour    = "neighbour"      // an idle stack of the run used the CPU or the GPU during the cell, and when it was measured again
	FlagReused       = "reused"         // measured by another run, see Record.Reused
	FlagImported     = "imported"       // read from a file of figures from elsewhere; how they were measured is not known
)

// LaterRound is the reason why a record with fresh: run has no memory: what a stack
// keeps from earlier rounds would count in.
const LaterRound = "memory is measured in a stack's first round"

// Kinds of memory.
const (
	MemoryGPU  = "gpu"  // memory in use on the devices that the stack was given
	MemoryMain = "main" // main memory of the stack
)

// A Record is one cell of one repeat.
type Record struct {
	Run      string
	Topology scenarios.Topology
	Cell     scenarios.Cell
	Started  time.Time

	Status  string
	Reason  string // why it failed or was pruned, and what to do next
	LogTail string // of the stack's services, if it failed, or nginx got no answer from the server
	Flags   []string

	// OutOfMemory is MemoryGPU or MemoryMain if the stack failed because it ran
	// out of that memory.
	OutOfMemory string

	Duration    *float64 // seconds, from the gun to the last reply
	Replies     int
	Errors      int
	ErrorKinds  map[string]int
	FirstErrors map[string]string
	Latency     *load.Latency // of the replies
	Load        LoadFacts
	Memory      Memory
	CPU         CPU
	GPU         gpu.Usage
	Stack       *Stack

	// Lane is the number of the lane that the record was measured on, from 1, see
	// Run.Lanes. 0: the run had one.
	Lane int

	// Fingerprint is what the record has in common with those that are measured alike,
	// see scenarios.Plan.CellFingerprint. It stays in the store: secrets went into it.
	Fingerprint string

	// Reused is the run that measured the record, from which this one took it; empty: it
	// is this one's own.
	Reused string

	// Start is the number of the start of its topology's stack that the record was
	// measured on, from 1, with fresh: run. 0: each repeat has a stack of its own, or
	// none was ready.
	Start int
}

// LoadFacts are how the load was sent.
type LoadFacts struct {
	Hand       string  `json:"hand"`          // next or split
	StartDelay float64 `json:"start_delay_s"` // from the gun to the last client's first request
	BytesSent  int64   `json:"bytes_sent"`
	BytesRead  int64   `json:"bytes_read"`

	Retries    int          `json:"retries"`             // requests for which a kept connection was replaced, because the server had closed it
	Little     *float64     `json:"little"`              // closed loops: throughput × mean latency, pickup included, ÷ active clients; 1 by Little's law
	Connect    *Spread      `json:"connect_s"`           // of new connections
	FirstByte  *Spread      `json:"first_byte_s"`        // from sending to the first byte of the answer
	Events     *int64       `json:"events"`              // in the replies that stream; nil: none did
	FirstEvent *Spread      `json:"first_event_s"`       // of the replies that stream, from sending to the end of the first event
	EventGap   *Spread      `json:"event_gap_s"`         // of the replies that stream, between the ends of two events, one after the other
	Service    *Spread      `json:"service_s"`           // open loop: from sending to the last byte
	Lateness   *Spread      `json:"lateness_s"`          // open loop at a rate: from a request's moment to its sending
	Pickup     *Spread      `json:"pickup_s"`            // from an answer's arrival, where latency ends, to its reading; nil if the kernel gives no arrival: latency then ends with the reading
	RoundTrip  *RoundTrip   `json:"round_trip_s"`        // of the network to the server, right before the load; nil: the client was on the orchestrator's machine, or a connection was not made
	Late       int          `json:"late,omitempty"`      // open loop at a rate: requests sent more than a millisecond late
	InFlight   int          `json:"in_flight,omitempty"` // open loop: the most requests at once
	Pauses     float64      `json:"gc_pauses_s"`         // the sum over the client's processes
	LongPause  float64      `json:"gc_longest_s"`        // the longest pause
	Cores      []int        `json:"cores,omitempty"`     // that the client was confined to
	Search     *load.Search `json:"search,omitempty"`    // how the rate was found
}

// A Spread is a distribution in three figures, in seconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// A RoundTrip is a distribution with how many values it is of.
type RoundTrip struct {
	Spread
	N int `json:"n"`
}

// Memory is the stack's main memory during the cell, in bytes.
type Memory struct {
	Method     string           `json:"method"`
	Peak       *int64           `json:"stack_peak"`
	Start      *int64           `json:"stack_start"`
	KernelPeak *int64           `json:"kernel_peak"` // page cache included
	Services   map[string]int64 `json:"services,omitempty"`
	Samples    int              `json:"samples"`
	MaxGap     float64          `json:"max_gap_s"`
	Series     []gpu.Point      `json:"series,omitempty"` // since the gun, thinned out without losing the peak
	Reason     string           `json:"reason,omitempty"`
}

// CPU is CPU time in seconds during the cell.
type CPU struct {
	Stack  *float64 `json:"stack_s"`
	Client *float64 `json:"client_s"`

	Machine *float64 `json:"machine_s"` // everything on the machine, stack and client included
}

// UnmarshalJSON reads a stack. Where there was only nginx to be in front of a server,
// the configuration was called nginx.
func (s *Stack) UnmarshalJSON(text []byte) error {
	type plain Stack
	old := struct{ Nginx string }{}
	err := errors.Join(json.Unmarshal(text, (*plain)(s)), json.Unmarshal(text, &old))
	s.Proxy = cmp.Or(s.Proxy, old.Nginx)
	return err
}

// Stack is what really ran, read back from the running services.
type Stack struct {
	Route    string    `json:"route"`
	GPU      string    `json:"gpu"`
	Workers  *int      `json:"workers"`          // worker processes that run, in each replica; nil: not known, or the server has none
	Threads  *int      `json:"threads"`          // of each worker, from the running command line; nil likewise
	Class    string    `json:"class,omitempty"`  // of the workers, by the server's own name
	Loop     string    `json:"loop,omitempty"`   // the event loop of the workers
	Proxy    string    `json:"proxy,omitempty"`  // the configuration that the proxy loaded
	Unread   string    `json:"unread,omitempty"` // what could not be read back, and why; empty: nothing
	Services []Service `json:"services"`

	Node       string `json:"node,omitempty"`        // of a cluster
	Cores      int    `json:"cores,omitempty"`       // of the node: on which it may run; 0: not known
	ClientNode string `json:"client_node,omitempty"` // of a cluster: of the Pod that sent the loads; empty: there was none

	Before string `json:"before,omitempty"` // why an earlier measurement of the cell was void, with FlagRepeated

	Concurrency *int     `json:"concurrency,omitempty"` // requests that each worker takes at once; nil: not known, or there is no such number
	InForce     []string `json:"in_force,omitempty"`    // what the server takes settings from beside its command line: "variable NAME", "file NAME"

	Interpreters int `json:"interpreters,omitempty"` // Python processes that answer requests; 0: not known
	Slots        int `json:"slots,omitempty"`        // requests that the server works on at once; 0: not known, or not bounded

	StartS  *float64 `json:"start_s"`
	ReadyS  *float64 `json:"ready_s"` // until the ready path was answered
	WarmupS *float64 `json:"warmup_s"`
}

// Service is one service of a Stack.
type Service struct {
	Name      string   `json:"name"`
	Container string   `json:"container,omitempty"`
	Image     string   `json:"image,omitempty"`
	Digest    string   `json:"digest,omitempty"`
	Processes []string `json:"processes"` // command lines
}

// A Key names one record within a run.
type Key struct {
	Topology string // the topology's name
	Load     string // the load's name: mt10/n100
	Repeat   int    // from 1
}

// Key identifies the record within its run.
func (r Record) Key() Key {
	return Key{Topology: r.Topology.Name, Load: r.Cell.Load.Name(), Repeat: r.Cell.Repeat}
}

// KnownStatus reports whether a record can have the status.
func KnownStatus(status string) bool {
	return status == StatusOK || status == StatusFailed || status == StatusPruned
}

// Attempted reports whether the record's load was fired. If it was not, because
// the stack never became ready for example, the counts of replies and errors are
// not measurements and are shown as missing, not as 0.
func (r Record) Attempted() bool {
	return r.Duration != nil || r.Replies > 0 || r.Errors > 0
}

// Throughput is the number of good replies per second. It is nil if there is no
// duration to divide by.
func (r Record) Throughput() *float64 {
	if r.Duration == nil || *r.Duration <= 0 {
		return nil
	}
	return new(float64(r.Replies) / *r.Duration)
}

// Spares reports whether the record leaves a metric to the first round of its stack,
// see LaterRound.
func (r Record) Spares(f Figure) bool {
	return r.Memory.Reason == LaterRound && f.Name != "" && f.Unit == units.Bytes
}

// Clean reports whether the record is ok and every answer was as expected.
func (r Record) Clean() bool { return r.Status == StatusOK && r.Errors == 0 }

// Speaking returns the repeats of a cell that are ok, and those that speak for
// the cell: the ones without errors, or all that are ok if none is.
func Speaking(repeats []Record) (ok, speaking []Record) {
	ok = Only(repeats, func(r *Record) bool { return r.Status == StatusOK })
	if speaking = Only(ok, func(r *Record) bool { return r.Clean() }); len(speaking) == 0 {
		speaking = ok
	}
	return ok, speaking
}

// Only returns the records for which keep is true: where that is all, the very slice,
// otherwise a copy of its size. A record has more than a kilobyte, and a run may have
// tens of thousands.
func Only(records []Record, keep func(*Record) bool) []Record {
	kept := 0
	for i := range records {
		if keep(&records[i]) {
			kept++
		}
	}
	if kept == len(records) {
		return slices.Clip(records)
	}
	some := make([]Record, 0, kept)
	for i := range records {
		if keep(&records[i]) {
			some = append(some, records[i])
		}
	}
	return some
}

// AllFlags are the flags of the record and of its GPU measurement, sorted and
// without duplicates. It is nil if there are none.
func (r Record) AllFlags() []string {
	flags := slices.Concat(r.Flags, r.GPU.Flags)
	slices.Sort(flags)
	return slices.Compact(flags)
}

// An Observation is one metric of one record, as a store returns it.
type Observation struct {
	Run    string
	Cell   string
	Repeat int
	Clean  bool // ok, and every answer as expected
	Value  *float64
}

// Sent writes a load client's result into the record. There is no duration if
// nothing was answered.
func (r *Record) Sent(sent load.Result) {
	if sent.Replies > 0 {
		r.Duration = new(sent.Duration.Seconds())
	}
	r.Replies, r.Errors = sent.Replies, sent.Errors
	r.ErrorKinds, r.FirstErrors = sent.ErrorKinds, sent.FirstErrors
	r.Latency = sent.Latency
	r.Load = loadFacts(sent)
	r.Flags = append(r.Flags, sent.Flags...)
	if sent.Errors > 0 {
		r.Flags = append(r.Flags, FlagErrors)
	}
	if sent.Requests > 0 {
		r.CPU.Client = new(sent.CPU.Seconds())
	}
}

// loadFacts are how the load was sent.
func loadFacts(r load.Result) LoadFacts {
	facts := LoadFacts{
		Hand: r.Hand, StartDelay: r.StartDelay.Seconds(),
		BytesSent: r.BytesSent, BytesRead: r.BytesRead, Retries: r.Retries,
		Connect: spread(r.Connect), FirstByte: spread(r.FirstByte), FirstEvent: spread(r.FirstEvent), EventGap: spread(r.EventGap),
		Service: spread(r.Service), Lateness: spread(r.Lateness), Pickup: spread(r.Pickup),
		Late: r.Late, InFlight: r.InFlight,
		Pauses: r.Pauses.Total.Seconds(), LongPause: r.Pauses.Max.Seconds(),
		Cores: r.Cores, Search: r.Search,
	}
	if r.Streams > 0 {
		facts.Events = new(int64(r.Events))
	}
	if trips := spread(r.RoundTrips); trips != nil {
		facts.RoundTrip = &RoundTrip{*trips, int(r.RoundTrips.Count())}
	}
	if r.Little != 0 {
		facts.Little = &r.Little
	}
	return facts
}

// spread is a distribution in three figures, nil if it is empty.
func spread(l *load.Latency) *Spread {
	if l == nil || l.Count() == 0 {
		return nil
	}
	return &Spread{P50: l.Percentile(50).Seconds(), P99: l.Percentile(99).Seconds(), Max: l.Max().Seconds()}
}
