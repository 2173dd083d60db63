package load

import (
	"math"
	"math/rand/v2"
	"time"

	"stackmeter/scenarios"
)

// Offsets are the moments of an open loop's requests, counted from the gun; nil
// where there is no rate. They do not depend on answers, which is what makes a
// loop open: a server that stalls meets the same arrivals as one that does not.
// Constant arrivals begin with the gun; of Poisson arrivals the gaps are
// exponential with mean 1/rate, the one before the first request too. The same
// seed gives the same moments. They take 8 bytes for each request.
func Offsets(l scenarios.LoadSpec, seed uint64) []time.Duration {
	if l.Rate == 0 {
		return nil
	}
	gap := float64(time.Second) / l.Rate
	offsets := make([]time.Duration, l.Requests)
	random := rand.New(rand.NewPCG(seed, 0))
	at := 0.0
	for i := range offsets {
		if l.Arrivals == scenarios.ArrivalsPoisson {
			at += random.ExpFloat64() * gap
		} else {
			at = float64(i) * gap
		}
		offsets[i] = time.Duration(math.Round(at))
	}
	return offsets
}

// LateFrom is from which delay on a request of an open loop counts as late:
// what timers and the scheduler need stays below it on a machine that is not
// overloaded.
const LateFrom = time.Millisecond

// Drawn is the payload, from 0 to n-1, that the i-th request of a batch sends
// where payloads are drawn by a seed. It depends on nothing else, so that the
// processes of a batch, other topologies and the other engine draw the same
// ones. The i-th number of SplitMix64 is taken modulo n, whose bias is below
// one in 10^15 for any number of files.
//
// https://doi.org/10.1145/2660193.2660195 (Steele, Lea, Flood: Fast splittable
// pseudorandom number generators)
func Drawn(seed uint64, i, n int) int {
	x := seed + (uint64(i)+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(n))
}
