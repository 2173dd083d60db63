package gpu

import (
	"math"
	"slices"
	"time"
)

// A sample is one reading of the memory of all of a trial's devices.
type sample struct {
	at   time.Duration // since the trial began
	used []int64       // by device; nil if the reading failed
}

// total is the sum over the devices.
func (s sample) total() int64 {
	var n int64
	for _, u := range s.used {
		n += u
	}
	return n
}

// A figure is a number of bytes that a successful sample has.
type figure func(sample) int64

// device is the figure of one device.
func device(d int) figure { return func(s sample) int64 { return s.used[d] } }

// window returns the samples within [from, to].
func window(samples []sample, from, to time.Duration) []sample {
	i, _ := slices.BinarySearchFunc(samples, from, func(s sample, at time.Duration) int { return int(s.at - at) })
	j := i
	for j < len(samples) && samples[j].at <= to {
		j++
	}
	return samples[i:j]
}

// read returns the samples whose reading succeeded.
func read(samples []sample) []sample {
	return slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.used == nil })
}

// gaps returns the longest of the times between successful samples, and their
// 99th percentile. The window's edges count as ends, so that a sampler that began
// late or died early shows. Without samples the gap is the whole window.
func gaps(samples []sample, from, to time.Duration) (longest, p99 time.Duration) {
	all := make([]time.Duration, 0, len(samples)+1)
	last := from
	for _, s := range read(samples) {
		all = append(all, s.at-last)
		last = s.at
	}
	all = append(all, to-last)
	slices.Sort(all)
	return all[len(all)-1], all[(len(all)*99+99)/100-1]
}

// peak is the largest figure of the samples, nil if no reading succeeded.
func peak(samples []sample, of figure) *int64 {
	var top *int64
	for _, s := range read(samples) {
		top = larger(top, new(of(s)))
	}
	return top
}

// larger is the larger of two figures that may be nil.
func larger(a, b *int64) *int64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// medianSpread is the median figure of the samples, and the difference between
// the largest and the smallest. Both are nil if no reading succeeded.
func medianSpread(samples []sample, of figure) (median, spread *int64) {
	var v []int64
	for _, s := range read(samples) {
		v = append(v, of(s))
	}
	if len(v) == 0 {
		return nil, nil
	}
	slices.Sort(v)
	return new(v[(len(v)-1)/2]), new(v[len(v)-1] - v[0])
}

// thin makes at most limit points of samples, with times since from.
func thin(samples []sample, from time.Duration, limit int) []Point {
	points := make([]Point, len(samples))
	for i, s := range samples {
		points[i].At = (s.at - from).Seconds()
		if s.used != nil {
			points[i].Used = new(s.total())
		}
	}
	return Thin(points, limit)
}

// Thin reduces a series in the order of time to at most limit points. It divides
// the time into equal stretches and keeps the largest point of each, so that no
// peak is lost. A stretch without a successful reading keeps a point without a
// figure. Times are rounded to milliseconds: charts show no more, and it halves
// what is stored.
func Thin(points []Point, limit int) []Point {
	if limit <= 0 || len(points) == 0 {
		return nil
	}
	kept := make([]Point, 0, min(limit, len(points)))
	first := points[0].At
	width := (points[len(points)-1].At - first) / float64(limit)
	stretch := -1
	for i, p := range points {
		k := i
		if len(points) > limit {
			k = limit - 1
			if width > 0 {
				k = min(k, int((p.At-first)/width))
			}
		}
		p.At = math.Round(p.At*1000) / 1000
		if k != stretch {
			kept, stretch = append(kept, p), k
			continue
		}
		last := &kept[len(kept)-1]
		if p.Used != nil && (last.Used == nil || *p.Used > *last.Used) {
			*last = p
		}
	}
	return kept
}
