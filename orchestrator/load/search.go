package load

import (
	"math"
	"slices"
	"time"
)

// A Search is a search for the highest rate that a stack holds within a limit of
// latency, and what it found.
type Search struct {
	P99    time.Duration `json:"p99"`  // the limit
	Rate   float64       `json:"rate"` // the highest that held; 0: none of those tried
	Probes []Probe       `json:"probes"`
}

// FlagNoRate marks a search that found no rate. Its figures are those of the lowest
// rate that it tried.
const FlagNoRate = "no-rate"

// A Probe is one batch of a search. It holds if every request got a reply, the 99th
// percentile of the latency, counted from the schedule's moments, is within the
// limit, and the replies came at the rate asked for, to the search's precision.
type Probe struct {
	Rate     float64       `json:"rate"`     // requests per second, as asked
	Achieved float64       `json:"achieved"` // good replies per second, from the gun to the last
	P99      time.Duration `json:"p99"`      // 0: no reply
	Service  time.Duration `json:"service"`  // the 99th percentile from the sending; 0: no reply
	Errors   int           `json:"errors"`
	Late     float64       `json:"late"` // share of the requests sent more than a millisecond after their moments
	Holds    bool          `json:"holds"`
	Flags    []string      `json:"flags,omitempty"` // of its batch
}

// Bound is the lowest rate that did not hold, or nil if every rate held. client are
// the flags, FlagClientBound and FlagClientLate, by which the client, not the stack,
// was why: the stack may hold more than was found. A client that used up its CPU
// affects every figure. A client that sent late is the reason only if the stack
// answered in time what it was sent: a stack that does not brings every pool to its
// bound.
func (s *Search) Bound() (lowest *Probe, client []string) {
	_, high := s.Bracket()
	for i, p := range s.Probes {
		if p.Rate == high {
			lowest = &s.Probes[i] // the last of its tries
		}
	}
	if lowest == nil {
		return nil, nil
	}
	for _, flag := range lowest.Flags {
		late := flag == FlagClientLate && lowest.Errors == 0 && lowest.Service <= s.P99
		if late || flag == FlagClientBound {
			client = append(client, flag)
		}
	}
	return lowest, client
}

// Bracket is the highest rate that held, or 0, and the lowest rate that did not in
// any of its tries, or +Inf. A rate that held above one that did not is taken for
// luck.
func (s *Search) Bracket() (low, high float64) {
	high = math.Inf(1)
	for _, p := range s.Probes {
		if !slices.ContainsFunc(s.Probes, func(o Probe) bool { return o.Rate == p.Rate && o.Holds }) {
			high = min(high, p.Rate)
		}
	}
	for _, p := range s.Probes {
		if p.Holds && p.Rate < high {
			low = max(low, p.Rate)
		}
	}
	return low, high
}
