package load

import "time"

// result adds up what the workers reported. All of them have to be finished,
// or none fired.
func (b *Batch) result(begin instant) Result {
	r := Result{Requests: b.requests, Hand: b.hand, Cores: b.cpus}
	var all histograms
	var failures tally
	var active, failing time.Duration
	if begin != 0 {
		for _, w := range b.workers {
			got := &w.report
			all.merge(&got.Histograms)
			failures.merge(got.ErrorKinds, got.FirstErrors)
			r.Replies += got.Replies
			r.Retries += got.Retries
			r.CPU += got.CPU
			r.BytesSent += got.BytesSent
			r.BytesRead += got.BytesRead
			r.Late += got.Late
			r.InFlight += got.InFlight
			r.Pauses.add(got.Pauses)
			active += got.Active
			failing += got.Failing
			if got.LastStart != 0 && !b.open {
				r.StartDelay = max(r.StartDelay, got.LastStart.sub(begin))
			}
			if got.End != 0 {
				r.Duration = max(r.Duration, got.End.sub(begin))
			}
		}
	}
	r.Errors, r.ErrorKinds, r.FirstErrors = failures.total, failures.kinds, failures.messages
	r.Latency, r.Connect, r.FirstByte = nonEmpty(&all.Latency), nonEmpty(&all.Connect), nonEmpty(&all.FirstByte)
	r.Service, r.Lateness, r.Pickup = nonEmpty(&all.Service), nonEmpty(&all.Lateness), nonEmpty(&all.Pickup)
	if r.Latency != nil && active > 0 && !b.open {
		r.Little = (all.Latency.sum + all.Pickup.sum + float64(failing)) / float64(active)
	}
	r.Flags = r.doubts(b.cores())
	if b.insecure {
		r.Flags = append(r.Flags, FlagInsecure)
	}
	return r
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
	allowed := lateFrom
	if r.Service != nil {
		allowed = max(allowed, time.Duration(lateShare*float64(r.Service.Percentile(50))))
	}
	return r.Lateness.Percentile(latePercentile) > allowed
}
