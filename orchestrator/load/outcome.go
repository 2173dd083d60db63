package load

import (
	"slices"
	"time"
)

// An Outcome is what became of one request. Its moments are nanoseconds on the
// monotonic clock, as the Account's Gun is.
type Outcome struct {
	Client     int           // which client of the batch sent it, from 0
	Intended   int64         // when it was due, in an open loop at a rate; otherwise 0
	Begin, End int64         // when it was sent, and when its reply or error was in
	FirstByte  int64         // when the answer's first byte came; 0: none came
	Connect    time.Duration // how long its new connection took to make; 0: it made none
	Kind       string        // of its error; empty for a reply
	Message    string        // of its error; may be empty
	Sent, Read int64         // bytes
}

// An Account is a batch told request by request: one outcome for each that was
// finished. Its Result counts figures as the native engine does.
type Account struct {
	Requests    int           // asked for
	Open        bool          // an open loop
	UsableCores int           // how many the clients can use at most
	Hand        string        // how requests were handed to the clients
	Gun         int64         // when the batch was fired, in nanoseconds
	CPU         time.Duration // of the clients' processes
	Waited      time.Duration // for a core, see Result
	Retries     int
	Outcomes    []Outcome
}

// Result counts the outcomes.
func (a Account) Result() Result {
	r := Result{Requests: a.Requests, Hand: a.Hand, CPU: a.CPU, Waited: a.Waited, Retries: a.Retries}
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
	r.Conclude(&all, failures, active, failing, a.Open, a.UsableCores)
	return r
}

// inFlight is the most requests that were under way at once. A request that ends
// when another begins is no longer under way.
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
