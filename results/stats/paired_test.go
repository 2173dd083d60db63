package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// bruteTails counts all choices of signs.
func bruteTails(values []float64) (down, up float64) {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v == 0 })
	sizes := make([]float64, len(values))
	for i, v := range values {
		sizes[i] = math.Abs(v)
	}
	ranks := ranksOf(sizes)
	is := 0.0
	for i, v := range values {
		if v > 0 {
			is += ranks[i]
		}
	}
	all := 1 << len(values)
	for choice := range all {
		sum := 0.0
		for i, rank := range ranks {
			if choice>>i&1 == 1 {
				sum += rank
			}
		}
		if sum <= is {
			down++
		}
		if sum >= is {
			up++
		}
	}
	return down / float64(all), up / float64(all)
}

func TestSignedTails(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		values := make([]float64, random.IntN(13))
		for i := range values {
			values[i] = float64(random.IntN(9) - 4) // ties and zeros
		}
		down, up := signedTails(values)
		wantDown, wantUp := bruteTails(values)
		if math.Abs(down-wantDown) > 1e-12 || math.Abs(up-wantUp) > 1e-12 {
			t.Fatalf("%v: %v and %v, want %v and %v", values, down, up, wantDown, wantUp)
		}
	}
}

// TestSignedTailsOfMany compares the approximation with the exact distribution where
// the two meet.
func TestSignedTailsOfMany(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	values := make([]float64, mostSigned)
	for i := range values {
		values[i] = random.NormFloat64() + 0.2
	}
	_, exact := signedTails(values)
	_, near := signedTails(append(values, 1e-9)) // the smallest rank
	if exact <= 0 || near/exact < 0.8 || near/exact > 1.25 {
		t.Errorf("%g exact, %g with one more", exact, near)
	}
}

func TestPair(t *testing.T) {
	if Pair(nil, nil) != nil || Pair([]float64{1}, []float64{1, 2}) != nil || Pair([]float64{0, 1}, []float64{1, 1}) != nil {
		t.Error("values that are no pairs have a ratio")
	}
	// The smallest samples: published tables of the signed-rank test have no critical
	// value at 5% for fewer than 6 pairs, 0 for 6, 2 for 7, 3 for 8, 5 for 9 and 8 for 10
	// (Wilcoxon and Wilcox, Some Rapid Approximate Statistical Procedures, 1964).
	for n, critical := range map[int]int{5: -1, 6: 0, 7: 2, 8: 3, 9: 5, 10: 8} {
		if k, _ := averagesOutside(n); k != critical+1 {
			t.Errorf("%d pairs: bound %d, want %d", n, k, critical+1)
		}
	}
	base, head := []float64{10, 20, 40, 80, 160, 320}, []float64{11, 23, 44, 88, 176, 352}
	p := Pair(base, head)
	if p.N != 6 || math.Abs(p.Ratio-1.1) > 1e-9 || p.Interval == nil || math.Abs(p.Interval.Low-1.1) > 1e-9 || math.Abs(p.Interval.High-1.15) > 1e-9 ||
		p.Interval.Confidence != 1-2.0/64 || !p.Shown || !p.Able || math.Abs(p.P-2.0/64) > 1e-12 {
		t.Errorf("%+v %+v", p, p.Interval)
	}
	if few := Pair(base[:5], head[:5]); few.Interval != nil || few.Able || few.Shown {
		t.Errorf("five pairs: %+v", few)
	}
}

// TestPairedOnADriftingMachine: two that are the same are called different in at most
// 5% of pairs however the machine drifts, and a difference of 3% is seen at 1% noise
// that a comparison without pairs does not see.
func TestPairedOnADriftingMachine(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	const runs, rounds = 2000, 8
	called, covered, seen, seenUnpaired := 0, 0, 0, 0
	for range runs {
		var a, b, faster []float64
		for round := range rounds {
			machine := 1 + 0.3*float64(round)/rounds
			a = append(a, machine*math.Exp(0.01*random.NormFloat64()))
			b = append(b, machine*math.Exp(0.01*random.NormFloat64()))
			faster = append(faster, 0.97*machine*math.Exp(0.01*random.NormFloat64()))
		}
		p := Pair(a, b)
		if p.Shown {
			called++
		}
		if p.Interval.Low <= 1 && 1 <= p.Interval.High {
			covered++
		}
		if Pair(a, faster).Shown {
			seen++
		}
		if Compare(NewSample(a), NewSample(faster)).Shown {
			seenUnpaired++
		}
	}
	if share := float64(called) / runs; share > 0.05 {
		t.Errorf("%.1f%% of pairs that are the same are called different", 100*share)
	}
	if share := float64(covered) / runs; share < 0.95 {
		t.Errorf("intervals hold the ratio in %.1f%%", 100*share)
	}
	if float64(seen)/runs < 0.95 || float64(seenUnpaired)/runs > 0.05 {
		t.Errorf("a difference is seen in %d of %d, without pairs in %d", seen, runs, seenUnpaired)
	}
}
