package results

import (
	"slices"
)

// A Key names one record within a run.
type Key struct {
	Topology string // the topology's name
	Load     string // the load's name: mt10/n100
	Repeat   int    // from 1
}

// Key returns what tells the record from the others of its run.
func (r Record) Key() Key {
	return Key{Topology: r.Topology.Name, Load: r.Cell.Load.Name(), Repeat: r.Cell.Repeat}
}

// KnownStatus reports whether a record can have the status.
func KnownStatus(status string) bool {
	return status == StatusOK || status == StatusFailed || status == StatusPruned
}

// Attempted reports whether the record's load was fired at all. Where it was
// not, because the stack never became ready for instance, the counts of replies
// and errors are no measurements and are shown as missing instead of as 0.
func (r Record) Attempted() bool {
	return r.Duration != nil || r.Replies > 0 || r.Errors > 0
}

// Throughput is the number of good replies per second of the record's
// duration; nil where there is no duration to divide by.
func (r Record) Throughput() *float64 {
	if r.Duration == nil || *r.Duration <= 0 {
		return nil
	}
	perSecond := float64(r.Replies) / *r.Duration
	return &perSecond
}

// Clean reports whether the record may speak for its cell: it is ok and every
// answer was as expected.
func (r Record) Clean() bool { return r.Status == StatusOK && r.Errors == 0 }

// Speaking returns the repeats of a cell that are ok, and those of them that
// speak for the cell: the ones without errors where there are any.
func Speaking(repeats []Record) (ok, speaking []Record) {
	for _, record := range repeats {
		if record.Status != StatusOK {
			continue
		}
		ok = append(ok, record)
		if record.Clean() {
			speaking = append(speaking, record)
		}
	}
	if len(speaking) == 0 {
		speaking = ok
	}
	return ok, speaking
}

// AllFlags are the record's own flags and those of its GPU measurement, sorted
// and each once; nil when there are none.
func (r Record) AllFlags() []string {
	flags := slices.Concat(r.Flags, r.GPU.Flags)
	slices.Sort(flags)
	return slices.Compact(flags)
}

// An Observation is one metric of one record, as a store gives it.
type Observation struct {
	Run    string
	Cell   string
	Repeat int
	Clean  bool // ok, and every answer as expected
	Value  *float64
}
