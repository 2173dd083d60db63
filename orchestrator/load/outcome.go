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
	Cores    int    // that the clients can use at most
	Hand     string // how requests were handed to them
	Gun      int64  // nanoseconds, when they were released
	CPU      time.Duration
	Outcomes []Outcome
}

// Result counts the outcomes. It has no timings beside Latency.
func (a Account) Result() Result {
	r := Result{Requests: a.Requests, Hand: a.Hand, CPU: a.CPU}
	var latency Latency
	var failures tally
	var failing time.Duration
	type span struct{ begin, end int64 }
	clients := map[int]span{} // from the first request to the last reply or error
	for _, o := range a.Outcomes {
		s, known := clients[o.Client]
		if !known || o.Begin < s.begin {
			s.begin = o.Begin
		}
		s.end = max(s.end, o.End)
		clients[o.Client] = s
		r.Duration = max(r.Duration, time.Duration(o.End-a.Gun))
		r.BytesSent += o.Sent
		r.BytesRead += o.Read
		if o.Kind == "" {
			latency.Record(time.Duration(o.End - o.Begin))
			continue
		}
		failing += time.Duration(o.End - o.Begin)
		failures.merge(map[string]int{o.Kind: 1}, map[string]string{o.Kind: clean(o.Message)})
	}
	var active time.Duration
	for _, s := range clients {
		r.StartDelay = max(r.StartDelay, time.Duration(s.begin-a.Gun))
		active += time.Duration(s.end - s.begin)
	}
	r.Replies = int(latency.Count())
	r.Errors, r.ErrorKinds, r.FirstErrors = failures.total, failures.kinds, failures.messages
	r.Latency = nonEmpty(&latency)
	if r.Latency != nil && active > 0 {
		r.Little = (latency.sum + float64(failing)) / float64(active)
	}
	r.Flags = r.doubts(a.Cores)
	return r
}
