package results

import "stackmeter/orchestrator/load"

// Sent puts what a load client did into the record: everything that does not
// depend on whether the client was sent by a run or is used alone. Where
// nothing was answered there is no duration.
func (r *Record) Sent(sent load.Result) {
	if sent.Replies > 0 {
		seconds := sent.Duration.Seconds()
		r.Duration = &seconds
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
		seconds := sent.CPU.Seconds()
		r.CPU.Client = &seconds
	}
}

// loadFacts say how the load was sent.
func loadFacts(r load.Result) LoadFacts {
	facts := LoadFacts{
		Hand: r.Hand, StartDelay: r.StartDelay.Seconds(),
		BytesSent: r.BytesSent, BytesRead: r.BytesRead, Retries: r.Retries,
		Connect: spread(r.Connect), FirstByte: spread(r.FirstByte), Service: spread(r.Service), Lateness: spread(r.Lateness), Pickup: spread(r.Pickup),
		Late: r.Late, InFlight: r.InFlight,
		Pauses: r.Pauses.Total.Seconds(), LongPause: r.Pauses.Max.Seconds(),
		Cores: r.Cores, Search: r.Search,
	}
	if r.Little != 0 {
		facts.Little = &r.Little
	}
	return facts
}

// spread is a distribution in three figures; nil of nothing.
func spread(l *load.Latency) *Spread {
	if l == nil || l.Count() == 0 {
		return nil
	}
	return &Spread{P50: l.Percentile(50).Seconds(), P99: l.Percentile(99).Seconds(), Max: l.Max().Seconds()}
}
