package load

// which is the distinct request that the i-th request of the batch is.
func (o *order) which(i int) int {
	if o.Draw == nil {
		return i % len(o.Requests)
	}
	return Drawn(*o.Draw, i, len(o.Requests))
}

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
