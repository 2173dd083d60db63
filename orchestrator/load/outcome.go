package load

import "time"

// An Outcome is what became of one request.
type Outcome struct {
	Client     int    // which client of the batch sent it, from 0
	Begin, End int64  // nanoseconds on the monotonic clock of the Account's Gun
	Kind       string // one of the kinds of errors; empty for a reply that was as expected
	Message    string // of an error; may be empty
	Sent, Read int64  // bytes
}

// An Account is what a client engine outside this package tells of a batch:
// one outcome for each request that was finished. Its Result is made from it,
// so that every engine's figures are counted in the same way.
type Account struct {
	Requests int    // asked for
	Clients  int    // that the batch had
	Cores    int    // that they can use at most
	Hand     string // how requests were handed to them
	Gun      int64  // nanoseconds, when they were released
	CPU      time.Duration
	Outcomes []Outcome
}

// Result counts the outcomes.
func (a Account) Result() Result {
	r := Result{Requests: a.Requests, Hand: a.Hand, CPU: a.CPU}
	var latency Latency
	var failures tally
	started := map[int]int64{} // by client: its first request
	for _, o := range a.Outcomes {
		if first, ok := started[o.Client]; !ok || o.Begin < first {
			started[o.Client] = o.Begin
		}
		r.Duration = max(r.Duration, time.Duration(o.End-a.Gun))
		r.BytesSent += o.Sent
		r.BytesRead += o.Read
		if o.Kind == "" {
			latency.Record(time.Duration(o.End - o.Begin))
			continue
		}
		failures.merge(map[string]int{o.Kind: 1}, map[string]string{o.Kind: clean(o.Message)})
	}
	for _, first := range started {
		r.StartDelay = max(r.StartDelay, time.Duration(first-a.Gun))
	}
	r.Replies = int(latency.Count())
	r.Errors, r.ErrorKinds, r.FirstErrors = failures.total, failures.kinds, failures.messages
	if latency.Count() > 0 {
		r.Latency = &latency
		r.Little = latency.sum / float64(r.Duration) / float64(min(a.Clients, a.Requests))
	}
	if available := r.Duration.Seconds() * float64(a.Cores); available > 0 && r.CPU.Seconds() >= clientBoundShare*available {
		r.Flags = append(r.Flags, FlagClientBound)
	}
	return r
}
