package stats

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		name        string
		a, b        []float64
		p           float64
		shown, able bool
		change      float64
	}{
		{"one repeat can show nothing", []float64{1}, []float64{2}, 1, false, false, 1},
		{"nor can three, wholly apart", []float64{1, 1.1, 1.2}, []float64{2, 2.1, 2.2}, 0.1, false, false, 1.0 / 1.1},
		{"four can", []float64{1, 1.1, 1.2, 1.3}, []float64{2, 2.1, 2.2, 2.3}, 2.0 / 70, true, true, 1 / 1.15},
		{"six beside three can", []float64{1, 1.1, 1.2, 1.3, 1.4, 1.5}, []float64{0.5, 0.6, 0.7}, 2.0 / 84, true, true, 0.6/1.25 - 1},
		{"four that overlap", []float64{1, 2, 3, 4}, []float64{2.5, 3.5, 1.5, 0.5}, 48.0 / 70, false, true, 2/2.5 - 1},
		{"all the same", []float64{3, 3, 3, 3}, []float64{3, 3, 3, 3}, 1, false, true, 0},
		{"constants that differ", []float64{3, 3, 3, 3}, []float64{4, 4, 4, 4}, 2.0 / 70, true, true, 1.0 / 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Compare(NewSample(test.a), NewSample(test.b))
			if math.Abs(got.P-test.p) > 1e-9 || got.Shown != test.shown || got.Able != test.able || math.Abs(*got.Change-test.change) > 1e-9 {
				t.Errorf("%+v; want p %v, shown %v, able %v, change %v", got, test.p, test.shown, test.able, test.change)
			}
		})
	}
	if got := Compare(nil, NewSample([]float64{1})); got.Shown || got.Able {
		t.Errorf("nothing against something: %+v", got)
	}
}

// TestAttackRankTest: with and without equal values, of as many values or not,
// both tails are those of all assignments of the values to the two samples.
func TestAttackRankTest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		n, m, kinds := 1+random.IntN(5), 1+random.IntN(5), 1+random.IntN(8)
		values := make([]float64, n+m)
		for i := range values {
			values[i] = float64(random.IntN(kinds))
		}
		t.Run(fmt.Sprint(values[:n], values[n:]), func(t *testing.T) {
			ranks := ranksOf(values)
			sumOf := func(chosen uint) (sum float64) {
				for i, rank := range ranks {
					if chosen>>i&1 == 1 {
						sum += rank
					}
				}
				return sum
			}
			seen, all, low, high := sumOf(uint(1<<(n+m)-1<<n)), 0.0, 0.0, 0.0
			for chosen := range uint(1) << (n + m) {
				if bits.OnesCount(chosen) != m {
					continue
				}
				all++
				if sum := sumOf(chosen); sum <= seen {
					low++
				}
				if sum := sumOf(chosen); sum >= seen {
					high++
				}
			}
			got := Compare(NewSample(values[:n]), NewSample(values[n:]))
			want := min(1, 2*min(low, high)/all)
			if math.Abs(got.Down-low/all) > 1e-12 || math.Abs(got.Up-high/all) > 1e-12 || math.Abs(got.P-want) > 1e-12 || got.P <= 0 || got.P > 1 {
				t.Errorf("p %v, down %v, up %v; want %v, %v, %v", got.P, got.Down, got.Up, want, low/all, high/all)
			}
		})
	}
	if got := Compare(NewSample([]float64{5000, 5002, 5004}), NewSample([]float64{5000, 5000, 5000, 5000})); math.Abs(got.P-10.0/35) > 1e-12 || got.Shown {
		t.Errorf("three beside four that are equal: %+v, want p = 10/35", got)
	}
}

// TestAttackManyRanks: above the number of pairs that are counted, the
// approximation is near what counting would say, and p is never 0 or above 1.
func TestAttackManyRanks(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, kinds := range []int{1, 2, 5, 1000} {
		values := make([]float64, 31+40)
		for i := range values {
			values[i] = float64(random.IntN(kinds))
		}
		down, up := tails(values[:40], values[40:])
		doubled, sum := []int{}, 0
		for i, rank := range ranksOf(values) {
			doubled = append(doubled, int(2*rank))
			if i >= 40 {
				sum += int(2 * rank)
			}
		}
		low, high := 0.0, 0.0
		for s, share := range rankSums(doubled, 31) {
			if s <= sum {
				low += share
			}
			if s >= sum {
				high += share
			}
		}
		if kinds > 2 && (math.Abs(down-low) > 0.003 || math.Abs(up-high) > 0.003) || min(down, up) <= 0 || max(down, up) > 1 {
			t.Errorf("of %d values: %v and %v, counted %v and %v", kinds, down, up, low, high)
		}
	}
	far := make([]float64, 4000)
	for i := range far[2000:] {
		far[2000+i] = 1e9 + float64(i)
	}
	if got := Compare(NewSample(far[:2000]), NewSample(slices.Clone(far[2000:]))); got.P <= 0 || !got.Shown {
		t.Errorf("wholly apart: %+v", got)
	}
}
