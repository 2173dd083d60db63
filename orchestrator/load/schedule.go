package load

import (
	"math"
	"math/rand/v2"
	"time"

	"stackmeter/scenarios"
)

// Offsets are the moments at which an open loop's requests are due, counted from
// the gun; nil without a rate. They do not depend on answers, which is what makes
// the loop open: a server that stalls gets the same arrivals as one that does not.
// Constant arrivals begin with the gun. The gaps of Poisson arrivals, the one
// before the first request included, are exponential with a mean of 1/rate. The
// same seed gives the same moments. Each takes 8 bytes.
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

// LateFrom is the delay from which on a request of an open loop counts as late.
// Timers and the scheduler need less on a machine that is not overloaded.
const LateFrom = time.Millisecond

// Drawn is the payload, from 0 to n-1, that the i-th request of a batch sends if
// payloads are drawn by a seed. It depends on nothing else, so the processes of a
// batch, all topologies and both engines draw the same payloads. It is the i-th
// number of SplitMix64 modulo n. The bias of that is below one in 10^15 for any
// number of files.
//
// Steele, Lea, Flood: Fast splittable pseudorandom number generators,
// https://doi.org/10.1145/2660193.2660195
func Drawn(seed uint64, i, n int) int {
	x := seed + (uint64(i)+1)*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(n))
}
