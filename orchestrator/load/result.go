package load

import (
	"slices"
	"time"
)

// Conclude fills in what follows from the sums over a batch's clients: the
// distributions, the counts of replies and errors, Little and the flags. active
// is the time from each client's first request to its last reply or error, and
// failing the part of it that failed requests took; cores is how many the
// clients could use.
func (r *Result) Conclude(all *Histograms, failures Failures, active, failing time.Duration, open bool, cores int) {
	r.Replies = int(all.Latency.Count())
	r.ErrorKinds, r.FirstErrors = failures.Kinds, failures.Messages
	r.Errors = 0
	for _, n := range failures.Kinds {
		r.Errors += n
	}
	r.Latency, r.Connect, r.FirstByte = nonEmpty(&all.Latency), nonEmpty(&all.Connect), nonEmpty(&all.FirstByte)
	r.Service, r.Lateness, r.Pickup = nonEmpty(&all.Service), nonEmpty(&all.Lateness), nonEmpty(&all.Pickup)
	if r.Latency != nil && active > 0 && !open {
		r.Little = (all.Latency.sum + all.Pickup.sum + float64(failing)) / float64(active)
	}
	r.Flags = r.doubts(cores)
}

// doubts are the flags that a result's own figures raise. cores is how many
// the client could use.
func (r *Result) doubts(cores int) []string {
	if r.Replies == 0 {
		return nil // there is no figure to doubt
	}
	var flags []string
	if available := r.Duration.Seconds() * float64(cores); available > 0 && r.CPU.Seconds() >= clientBoundShare*available {
		flags = append(flags, FlagClientBound)
	}
	if r.Little != 0 && (r.Little < 1-littleTolerance || r.Little > 1+littleTolerance) {
		flags = append(flags, FlagLittle)
	}
	if r.clientLate() {
		flags = append(flags, FlagClientLate)
	}
	return flags
}

// clientLate is FlagClientLate's rule.
func (r *Result) clientLate() bool {
	if r.Lateness == nil {
		return false
	}
	allowed := LateFrom
	if r.Service != nil {
		allowed = max(allowed, time.Duration(lateShare*float64(r.Service.Percentile(50))))
	}
	return r.Lateness.Percentile(latePercentile) > allowed
}

// Flag adds flags that a result does not have yet.
func (r *Result) Flag(flags ...string) {
	for _, flag := range flags {
		if !slices.Contains(r.Flags, flag) {
			r.Flags = append(r.Flags, flag)
		}
	}
}
