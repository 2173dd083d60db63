package gpu

import (
	"math"
	"slices"
	"time"
)

// A sample is one reading of the memory of all of a trial's devices. used is
// nil where a reading failed.
type sample struct {
	at   time.Duration // since the trial began
	used []int64       // by device
}

// total is the sum over the devices.
func (s sample) total() int64 {
	var n int64
	for _, u := range s.used {
		n += u
	}
	return n
}

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
	good := make([]sample, 0, len(samples))
	for _, s := range samples {
		if s.used != nil {
			good = append(good, s)
		}
	}
	return good
}

// gaps returns the longest time and the 99th percentile of the times between
// successful samples, with the window's edges as ends: a sampler that began
// late or died early shows here. With no sample the gap is the whole window.
func gaps(samples []sample, from, to time.Duration) (longest, p99 time.Duration) {
	all := make([]time.Duration, 0, len(samples)+1)
	last := from
	for _, s := range samples {
		if s.used != nil {
			all = append(all, s.at-last)
			last = s.at
		}
	}
	all = append(all, to-last)
	slices.Sort(all)
	return all[len(all)-1], all[(len(all)*99+99)/100-1]
}

// peak is the largest total, nil of nothing.
func peak(samples []sample) *int64 {
	var top *int64
	for _, s := range samples {
		if s.used != nil {
			top = larger(top, s.total())
		}
	}
	return top
}

// devicePeak is the largest reading of one device, nil of nothing.
func devicePeak(samples []sample, device int) *int64 {
	var top *int64
	for _, s := range samples {
		if s.used != nil {
			top = larger(top, s.used[device])
		}
	}
	return top
}

// larger is the larger of a figure, which may not be there yet, and n.
func larger(top *int64, n int64) *int64 {
	if top == nil || n > *top {
		return &n
	}
	return top
}

// medianSpread is the median, and the largest less the smallest.
func medianSpread(values []int64) (median, spread *int64) {
	if len(values) == 0 {
		return nil, nil
	}
	v := slices.Sorted(slices.Values(values))
	m, s := v[(len(v)-1)/2], v[len(v)-1]-v[0]
	return &m, &s
}

// thin makes at most limit points of samples, timed from from on.
func thin(samples []sample, from time.Duration, limit int) []Point {
	if limit <= 0 {
		return nil
	}
	points := make([]Point, len(samples))
	for i, s := range samples {
		points[i].At = (s.at - from).Seconds()
		if s.used != nil {
			n := s.total()
			points[i].Used = &n
		}
	}
	return Thin(points, limit)
}

// Thin reduces a series, which is in the order of time, to at most limit
// points, evenly spread over time, each the largest of its stretch, so that no
// peak is lost. A stretch in which no reading succeeded stays as a point
// without a figure. Times are rounded to milliseconds, which no chart shows
// and which halves what is stored.
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
