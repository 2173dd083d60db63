package load

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

// TestLatencyReadIsTheSame: a histogram that was read says what the one that was written
// does, in every figure, and goes on as it would have, though it keeps no empty counts, and the others in some bytes.
func TestLatencyReadIsTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, highest := range []int64{1, 1500, 3e6, 1e9, 4e12} { // nanoseconds; the last is over the range
		for _, n := range []int{1, 2, 99, 5000} {
			var wrote, read Latency
			for range n {
				wrote.Record(time.Duration(random.Int64N(highest + 1)))
			}
			binary, err := wrote.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if err := read.UnmarshalBinary(binary); err != nil {
				t.Fatal(err)
			}
			if read.hist != nil || len(read.kept) > 4*n { // up to 3 bytes say where, one how many
				t.Fatalf("%d durations are kept in %d bytes", n, len(read.kept))
			}
			for p := 0.0; p <= 100; p += 0.7 {
				if a, b := wrote.Percentile(p), read.Percentile(p); a != b {
					t.Fatalf("up to %d, %d durations: percentile %v is %v, and was %v", highest, n, p, b, a)
				}
			}
			for i, bin := range wrote.Bins(40) {
				if read.Bins(40)[i] != bin {
					t.Fatalf("bin %d is %v, and was %v", i, read.Bins(40)[i], bin)
				}
			}
			again, err := read.MarshalBinary()
			if err != nil || !bytes.Equal(binary, again) {
				t.Fatalf("written again it is another: %v", err)
			}
			more := time.Duration(random.Int64N(highest + 1))
			wrote.Record(more)
			read.Record(more)
			var merged Latency
			merged.Merge(&read)
			if merged.Percentile(50) != wrote.Percentile(50) || merged.Count() != wrote.Count() || merged.Max() != wrote.Max() || merged.Mean() != wrote.Mean() {
				t.Fatalf("with one more it is another: %v and %v", merged.Percentile(50), wrote.Percentile(50))
			}
		}
	}
}
