//go:build linux

package native

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

const (
	searchPrecision = 1.05     // the search ends when the rates that hold and do not hold are this near
	searchProbes    = 16       // at most
	searchLowest    = 1.0 / 64 // of the first rate: the search goes no lower
	searchLimits    = 20       // a probe's schedule lasts at least this many times the limit
)

// requestsAt is how many requests a probe sends at a rate: as many as the load has,
// and at least those of twenty times the limit. A shorter batch is over before a
// queue has grown to the limit, and holds at a rate that the stack does not hold: at
// 1.05 times what the stack can do, which is the search's precision, the wait grows by
// a twentieth of the time that the probe takes.
func requestsAt(rate float64, l scenarios.LoadSpec) int {
	return min(max(l.Requests, int(math.Ceil(searchLimits*l.P99.Seconds()*rate))), wire.MaxRequests)
}

// nextRate is the rate to try after these probes, and whether there is one. first is
// where to begin: what one client gets when it sends one request after the other. The
// rate is doubled until it does not hold, or halved until it does. Then each step
// halves the interval between the two, on a logarithmic scale. In the end the rate
// that bounds the search from above is tried once more, since a busy moment of the
// machine may look like the stack's limit. If the rate holds then, the search goes on
// from there.
func nextRate(first float64, probes []load.Probe) (float64, bool) {
	if len(probes) >= searchProbes {
		return 0, false
	}
	low, high := (&load.Search{Probes: probes}).Bracket()
	next, again := first, false
	switch {
	case low == 0 && math.IsInf(high, 1):
	case low == 0:
		next = high / 2
	case math.IsInf(high, 1):
		next = low * 2
	case high/low <= searchPrecision:
		again = true
	default:
		next = math.Sqrt(low * high)
	}
	next = min(readable(next), scenarios.MaxRate)
	if !again && next > low && next < high {
		return next, next >= max(first*searchLowest, scenarios.LowestRate)
	}
	return high, low > 0 && tries(probes, high) == 1
}

// tries is how often a rate was tried.
func tries(probes []load.Probe, rate float64) int {
	n := 0
	for _, p := range probes {
		if p.Rate == rate {
			n++
		}
	}
	return n
}

// readable is a rate, rounded to three digits.
func readable(rate float64) float64 {
	scale := math.Pow(10, 2-math.Floor(math.Log10(rate)))
	return math.Round(rate*scale) / scale
}

// A seeker is a load.Batch that searches for a rate. It fires many batches, each with
// as many requests as requestsAt says.
type seeker struct {
	client *Client
	job    load.Job

	mu      sync.Mutex // guards what follows
	current *batch     // the last one that was prepared
	fired   bool
	closed  bool
}

// prepareSearch prepares a search, and the first batch of it.
func (c *Client) prepareSearch(ctx context.Context, job load.Job) (load.Batch, error) {
	single := job // finds out where to begin
	single.Load = scenarios.LoadSpec{Requests: job.Load.Requests, Client: scenarios.ClientSingle, Pool: 1, KeepAlive: job.Load.KeepAlive}
	first, err := c.prepareBatch(ctx, single)
	if err != nil {
		return nil, err
	}
	return &seeker{client: c, job: job, current: first}, nil
}

// Fire searches. The Result is that of the highest rate that held, or, flagged, that
// of the lowest rate tried, and has the Search in it. If the client was why the lowest
// rate above it did not hold, the Result has those flags too. Fire can be called once.
// Whatever ends a batch ends the search.
func (s *seeker) Fire(ctx context.Context) (load.Result, error) {
	s.mu.Lock()
	batch, again := s.current, s.fired || s.closed
	s.fired = true
	s.mu.Unlock()
	if again {
		return load.Result{}, errors.New("fire the search: it was fired or closed before; prepare another one")
	}
	alone, err := s.fire(ctx, batch)
	if err != nil || alone.Replies == 0 {
		return alone, err
	}
	search := &load.Search{P99: s.job.Load.P99}
	first := float64(alone.Replies) / alone.Duration.Seconds()
	found := map[float64]load.Result{}
	for rate, more := nextRate(first, nil); more; rate, more = nextRate(first, search.Probes) {
		result, err := s.probe(ctx, rate)
		if err != nil {
			return result, err
		}
		search.Probes = append(search.Probes, newProbe(rate, search.P99, s.schedule(rate), result))
		found[rate] = result // of its last try: a rate is tried again only if it did not hold
	}
	low, lowest := search.Bracket()
	search.Rate = low
	best := found[low]
	if low == 0 {
		best = found[lowest]
		best.Flag(load.FlagNoRate)
	}
	_, client := search.Bound()
	best.Flag(client...)
	best.Search = search
	return best, nil
}

// at is the job of one batch at a rate.
func (s *seeker) at(rate float64) load.Job {
	job := s.job
	job.Load.Requests = requestsAt(rate, job.Load)
	job.Load.Rate, job.Load.P99 = rate, 0
	return job
}

// schedule is how long the schedule of a batch at a rate lasts: until the last request
// is due, and a mean gap.
func (s *seeker) schedule(rate float64) time.Duration {
	job := s.at(rate)
	offsets := load.Offsets(job.Load, job.Seed)
	return offsets[len(offsets)-1] + time.Duration(float64(time.Second)/rate)
}

// probe prepares and fires one batch at a rate.
func (s *seeker) probe(ctx context.Context, rate float64) (load.Result, error) {
	batch, err := s.client.prepareBatch(ctx, s.at(rate))
	if err != nil {
		return load.Result{}, err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.current = batch
	}
	s.mu.Unlock()
	if closed {
		return load.Result{}, errors.Join(errors.New("the search was closed"), batch.Close())
	}
	return s.fire(ctx, batch)
}

// fire fires a batch and closes it.
func (s *seeker) fire(ctx context.Context, batch *batch) (load.Result, error) {
	result, err := batch.Fire(ctx)
	return result, errors.Join(err, batch.Close())
}

// Done is how many replies and errors the batch under way has. It is safe for
// concurrent use.
func (s *seeker) Done() int {
	s.mu.Lock()
	batch := s.current
	s.mu.Unlock()
	return batch.Done()
}

// Close ends the search and releases everything. It may be called more than once. If
// Fire is running, it fails.
func (s *seeker) Close() error {
	s.mu.Lock()
	s.closed = true
	batch := s.current
	s.mu.Unlock()
	return batch.Close()
}

// newProbe judges a batch that was sent at a rate, by a limit. schedule is how long
// its schedule lasted.
func newProbe(rate float64, limit, schedule time.Duration, r load.Result) load.Probe {
	p := load.Probe{Rate: rate, Errors: r.Errors, Flags: r.Flags}
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
