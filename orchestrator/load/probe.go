package load

import (
	"slices"
	"time"
)

// A Probe is one batch of a search. It holds when every request was answered as
// expected, the 99th percentile of the latency, from the moments of the
// schedule, is within the limit, and the replies came at the rate that was asked
// for, to the search's precision.
type Probe struct {
	Rate     float64       `json:"rate"`     // requests per second, as asked
	Achieved float64       `json:"achieved"` // good replies per second, from the gun to the last
	P99      time.Duration `json:"p99"`      // 0: no reply
	Service  time.Duration `json:"service"`  // the 99th percentile from the sending; 0: no reply
	Errors   int           `json:"errors"`
	Late     float64       `json:"late"` // share of the requests that were sent more than a millisecond after their moments
	Holds    bool          `json:"holds"`
	Flags    []string      `json:"flags,omitempty"` // of its batch
}

// newProbe judges a batch that was sent at a rate within a limit. schedule is
// how long its requests were to take: from the gun until the one after the last
// would have been due.
func newProbe(rate float64, limit, schedule time.Duration, r Result) Probe {
	p := Probe{Rate: rate, Errors: r.Errors, Flags: r.Flags}
	if sent := r.Replies + r.Errors; sent > 0 {
		p.Late = float64(r.Late) / float64(sent)
	}
	if r.Latency == nil {
		return p
	}
	p.Achieved = float64(r.Replies) / r.Duration.Seconds()
	p.P99, p.Service = r.Latency.Percentile(99), r.Service.Percentile(99)
	p.Holds = r.Errors == 0 && r.Replies == r.Requests && p.P99 <= limit &&
		r.Duration.Seconds() <= searchPrecision*schedule.Seconds()
	return p
}

// clientsFault are the flags that say that the client, not the stack, is why a
// probe does not hold. A client that used up its CPU is in every figure. One
// that sent late is the reason only where the stack answered what it was sent in
// time: a stack that does not brings every pool to its bound.
func (p Probe) clientsFault(limit time.Duration) []string {
	var flags []string
	for _, flag := range p.Flags {
		late := flag == FlagClientLate && p.Errors == 0 && p.Service <= limit
		if !p.Holds && (late || flag == FlagClientBound) {
			flags = append(flags, flag)
		}
	}
	return flags
}

// Bound is the lowest rate that did not hold, and what the client itself had to
// do with that: FlagClientBound and FlagClientLate. The stack may then hold more
// than was found. nil: every rate held.
func (s *Search) Bound() (lowest *Probe, client []string) {
	_, high := bracket(s.Probes)
	for i, p := range s.Probes {
		if p.Rate == high {
			lowest = &s.Probes[i] // the last of its tries
		}
	}
	if lowest == nil {
		return nil, nil
	}
	return lowest, lowest.clientsFault(s.P99)
}

// flag adds flags that a result does not have yet.
func (r *Result) flag(flags ...string) {
	for _, flag := range flags {
		if !slices.Contains(r.Flags, flag) {
			r.Flags = append(r.Flags, flag)
		}
	}
}
