package load

import "time"

// A Bin is a stretch of durations and how many were recorded within it.
type Bin struct {
	From, To time.Duration
	Count    int64
}

// Bins counts what was recorded in at most n stretches of equal width, from
// the shortest to the longest duration, for a chart. A value counts where the
// histogram keeps it, which is precise to three digits. It is nil when nothing
// was recorded, and one bin where all durations are the same.
func (l *Latency) Bins(n int) []Bin {
	if l.count == 0 || n <= 0 {
		return nil
	}
	width := float64(l.max-l.min) / float64(n)
	if width < float64(time.Microsecond) {
		return []Bin{{From: l.min, To: l.max, Count: l.count}}
	}
	bins := make([]Bin, n)
	edge := func(i int) time.Duration { return l.min + time.Duration(float64(i)*width) }
	for i := range bins {
		bins[i].From, bins[i].To = edge(i), edge(i+1)
	}
	for _, bar := range l.hist.Distribution() {
		if bar.Count == 0 {
			continue
		}
		middle := time.Duration(bar.From+bar.To) * time.Microsecond / 2
		at := int(float64(middle-l.min) / width)
		bins[min(max(at, 0), n-1)].Count += bar.Count
	}
	return bins
}
