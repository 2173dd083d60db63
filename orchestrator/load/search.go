package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"stackmeter/scenarios"
)

// A Search is how the highest rate was looked for that a stack holds within a
// limit of latency, and what was found.
type Search struct {
	P99    time.Duration `json:"p99"`  // the limit
	Rate   float64       `json:"rate"` // the highest that was held; 0: none of those that were tried
	Probes []Probe       `json:"probes"`
}

// FlagNoRate marks a search that found no rate: the figures are those of the
// lowest one that was tried.
const FlagNoRate = "no-rate"

const (
	searchPrecision = 1.05 // a rate that holds and one that does not are this near in the end
	searchProbes    = 16   // at most
	searchLowest    = 1.0 / 64
	searchLimits    = 20 // a probe's schedule lasts at least this many times the limit
)

// requestsAt is how many requests a probe sends at a rate: as many as the load
// has, and at least those of twenty times the limit. A shorter batch is over
// before a queue has grown to the limit, and holds at a rate that the stack does
// not: at 1.05 times what it can do, which is the search's precision, the wait
// grows by a twentieth of the time that the probe takes.
func requestsAt(rate float64, l scenarios.LoadSpec) int {
	return min(max(l.Requests, int(math.Ceil(searchLimits*l.P99.Seconds()*rate))), scenarios.MaxRequests)
}

// nextRate is the rate to try after these probes, and whether there is one.
// first is where to begin: what one client gets when it sends one request after
// the other. From there the rate is doubled until it does not hold, or halved
// until it does, and then the two ends are brought together, each step half of
// the way on a logarithmic scale. In the end the rate that bounds the search from
// above is tried once more: a moment of a busy machine would be taken for what
// the stack cannot do. Where it holds then, the search goes on from there.
func nextRate(first float64, probes []Probe) (float64, bool) {
	if len(probes) >= searchProbes {
		return 0, false
	}
	low, high := bracket(probes)
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

// bracket is the highest rate that held, 0 for none, and the lowest one that
// did not, however often it was tried. A rate that held above one that did not
// is taken for luck.
func bracket(probes []Probe) (low, high float64) {
	high = math.Inf(1)
	for _, p := range probes {
		if !held(probes, p.Rate) {
			high = min(high, p.Rate)
		}
	}
	for _, p := range probes {
		if p.Holds && p.Rate < high {
			low = max(low, p.Rate)
		}
	}
	return low, high
}

// held reports whether a rate held in one of its probes.
func held(probes []Probe, rate float64) bool {
	return slices.ContainsFunc(probes, func(p Probe) bool { return p.Rate == rate && p.Holds })
}

// tries is how often a rate was tried.
func tries(probes []Probe, rate float64) int {
	n := 0
	for _, p := range probes {
		if p.Rate == rate {
			n++
		}
	}
	return n
}

// readable is a rate to three digits.
func readable(rate float64) float64 {
	scale := math.Pow(10, 2-math.Floor(math.Log10(rate)))
	return math.Round(rate*scale) / scale
}

// A Seeker is a prepared search for a rate. It is used like a Batch, many of
// which it fires, each with as many requests as the load has, or more: see
// requestsAt.
type Seeker struct {
	client *Client
	job    Job

	mu      sync.Mutex // guards what follows
	current *Batch     // the last one that was prepared
	fired   bool
	closed  bool
}

// Search prepares the search of a load that has one. What can be found out
// without sending is checked, as in Prepare. It has to be closed.
func (c *Client) Search(ctx context.Context, job Job) (*Seeker, error) {
	if !job.Load.Searches() {
		return nil, fmt.Errorf("search %s: the load has no limit to search with", job.Load.Name())
	}
	s := &Seeker{client: c, job: job}
	first, err := c.Prepare(ctx, s.single())
	if err != nil {
		return nil, err
	}
	s.current = first
	return s, nil
}

// single is the job that finds out where to begin.
func (s *Seeker) single() Job {
	job := s.job
	job.Load = scenarios.LoadSpec{Requests: s.job.Load.Requests, Client: scenarios.ClientSingle, Pool: 1, KeepAlive: s.job.Load.KeepAlive}
	return job
}

// Fire searches. The Result is that of the highest rate that held, with the
// Search in it, or, flagged, that of the lowest one tried. It has the client's
// flags of the lowest rate that did not hold too, where the client was why. It
// can be called once. What ends a batch ends the search.
func (s *Seeker) Fire(ctx context.Context) (Result, error) {
	s.mu.Lock()
	batch, again := s.current, s.fired || s.closed
	s.fired = true
	s.mu.Unlock()
	if again {
		return Result{}, errors.New("fire the search: it was fired or closed before; prepare another one")
	}
	alone, err := s.fire(ctx, batch)
	if err != nil || alone.Replies == 0 {
		return alone, err
	}
	search := &Search{P99: s.job.Load.P99}
	first := float64(alone.Replies) / alone.Duration.Seconds()
	found := map[float64]Result{}
	for rate, more := nextRate(first, nil); more; rate, more = nextRate(first, search.Probes) {
		result, err := s.probe(ctx, rate)
		if err != nil {
			return result, err
		}
		search.Probes = append(search.Probes, newProbe(rate, search.P99, s.schedule(rate), result))
		found[rate] = result // the last one: a rate is tried again only where it did not hold
	}
	low, lowest := bracket(search.Probes)
	search.Rate = low
	best := found[low]
	if low == 0 {
		best = found[lowest]
		best.flag(FlagNoRate)
	}
	_, client := search.Bound()
	best.flag(client...)
	best.Search = search
	return best, nil
}

// at is the job of one batch at a rate.
func (s *Seeker) at(rate float64) Job {
	job := s.job
	job.Load.Requests = requestsAt(rate, job.Load)
	job.Load.Rate, job.Load.P99 = rate, 0
	return job
}

// schedule is how long the requests of a batch at a rate are to take: until the
// last one is due, and a mean gap.
func (s *Seeker) schedule(rate float64) time.Duration {
	job := s.at(rate)
	offsets := Offsets(job.Load, job.Seed)
	return offsets[len(offsets)-1] + time.Duration(float64(time.Second)/rate)
}

// probe prepares and fires one batch at a rate.
func (s *Seeker) probe(ctx context.Context, rate float64) (Result, error) {
	batch, err := s.client.Prepare(ctx, s.at(rate))
	if err != nil {
		return Result{}, err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.current = batch
	}
	s.mu.Unlock()
	if closed {
		return Result{}, errors.Join(errors.New("the search was closed"), batch.Close())
	}
	return s.fire(ctx, batch)
}

// fire fires a batch and closes it.
func (s *Seeker) fire(ctx context.Context, batch *Batch) (Result, error) {
	result, err := batch.Fire(ctx)
	return result, errors.Join(err, batch.Close())
}

// Done is how many replies and errors the batch under way has. It may be called
// from any goroutine at any time.
func (s *Seeker) Done() int {
	s.mu.Lock()
	batch := s.current
	s.mu.Unlock()
	return batch.Done()
}

// Close ends the search and gives everything back. It may be called more than
// once, and while Fire runs, which then fails.
func (s *Seeker) Close() error {
	s.mu.Lock()
	s.closed = true
	batch := s.current
	s.mu.Unlock()
	return batch.Close()
}
