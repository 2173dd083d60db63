package load

import (
	"slices"
	"time"
)

// An Outcome is what became of one request. Its moments are nanoseconds on the
// monotonic clock of the Account's Gun.
type Outcome struct {
	Client     int           // which client of the batch sent it, from 0
	Intended   int64         // open loop at a rate: when it was to be sent; otherwise 0
	Begin, End int64         // when it was sent, and when the reply or error was there
	FirstByte  int64         // of the answer; 0: none came
	Connect    time.Duration // that the new connection took, if there was one; otherwise 0
	Kind       string        // one of the kinds of errors; empty for a reply that was as expected
	Message    string        // of an error; may be empty
	Sent, Read int64         // bytes
}

// An Account is what a client engine outside this package tells of a batch:
// one outcome for each request that was finished. Its Result is made from it,
// so that every engine's figures are counted in the same way.
type Account struct {
	Requests int    // asked for
	Open     bool   // the clients did not wait for each other's answers
	Cores    int    // that the clients can use at most
	Hand     string // how requests were handed to them
	Gun      int64  // nanoseconds, when they were released
	CPU      time.Duration
	Retries  int
	Outcomes []Outcome
}

// Result counts the outcomes.
func (a Account) Result() Result {
	r := Result{Requests: a.Requests, Hand: a.Hand, CPU: a.CPU, Retries: a.Retries}
	var all Histograms
	var failures Failures
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
		if o.Connect > 0 {
			all.Connect.Record(o.Connect)
		}
		intended := o.Begin
		if o.Intended != 0 {
			intended = o.Intended
			lateness := time.Duration(o.Begin - intended)
			all.Lateness.Record(lateness)
			if lateness > LateFrom {
				r.Late++
			}
		}
		if o.Kind == "" {
			all.Latency.Record(time.Duration(o.End - intended))
			all.FirstByte.Record(time.Duration(o.FirstByte - o.Begin))
			if a.Open {
				all.Service.Record(time.Duration(o.End - o.Begin))
			}
			continue
		}
		failing += time.Duration(o.End - o.Begin)
		failures.Merge(map[string]int{o.Kind: 1}, map[string]string{o.Kind: clean(o.Message)})
	}
	var active time.Duration
	for _, s := range clients {
		if !a.Open {
			r.StartDelay = max(r.StartDelay, time.Duration(s.begin-a.Gun))
		}
		active += time.Duration(s.end - s.begin)
	}
	if a.Open {
		r.InFlight = inFlight(a.Outcomes)
	}
	r.Conclude(&all, failures, active, failing, a.Open, a.Cores)
	return r
}

// inFlight is the most requests that were under way at once. One that ends when
// another begins is not under way any more.
func inFlight(outcomes []Outcome) int {
	var begins, ends []int64
	for _, o := range outcomes {
		begins, ends = append(begins, o.Begin), append(ends, o.End)
	}
	slices.Sort(begins)
	slices.Sort(ends)
	most, ended := 0, 0
	for i, begin := range begins {
		for ended < len(ends) && ends[ended] <= begin {
			ended++
		}
		most = max(most, i+1-ended)
	}
	return most
}
