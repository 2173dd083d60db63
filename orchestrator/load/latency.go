package load

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The histogram's range and precision: 1 µs to one hour, three digits. A
// duration outside of it is counted at the edge.
const (
	lowestLatency  = time.Microsecond
	highestLatency = time.Hour
	latencyDigits  = 3
)

// A Latency is a histogram of durations, precise to three digits. The number,
// minimum, mean and maximum are exact. The zero value is empty and ready for
// use. It is not safe for concurrent use.
type Latency struct {
	hist  *hdrhistogram.Histogram // in microseconds; nil while empty, and while only kept is there
	kept  []byte                  // of one that was read: the counts, packed
	count int64
	sum   float64 // nanoseconds; a float, so that no number of them overflows
	min   time.Duration
	max   time.Duration
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(highestLatency/time.Microsecond), latencyDigits)
}

// open makes the histogram's counts, of 180 kB, of what was read. A run has thousands of
// them, of which next to all are only looked at.
func (l *Latency) open() {
	if l.hist == nil {
		l.hist = newHistogram()
	}
	for bar := range unpack(l.kept) {
		_ = l.hist.RecordValues(bar.From, bar.Count) // it comes from such a histogram
	}
	l.kept = nil
}

// bars are the counts that are not 0, the lowest first.
func (l *Latency) bars() iter.Seq[hdrhistogram.Bar] {
	if l.hist == nil {
		return unpack(l.kept)
	}
	return unpack(pack(l.hist))
}

// Record adds one duration.
func (l *Latency) Record(d time.Duration) {
	l.open()
	d = max(d, 0)
	inside := min(max(d, lowestLatency), highestLatency)
	// A value outside of the range is the only error.
	_ = l.hist.RecordValue(int64((inside + time.Microsecond/2) / time.Microsecond))
	if l.count == 0 || d < l.min {
		l.min = d
	}
	l.max = max(l.max, d)
	l.count++
	l.sum += float64(d)
}

// Merge adds all samples of another histogram, without loss.
func (l *Latency) Merge(from *Latency) {
	if from == nil || from.count == 0 {
		return
	}
	l.open()
	for bar := range from.bars() {
		_ = l.hist.RecordValues(bar.From, bar.Count) // of the same range, so nothing is dropped
	}
	if l.count == 0 || from.min < l.min {
		l.min = from.min
	}
	l.max = max(l.max, from.max)
	l.count += from.count
	l.sum += from.sum
}

// Count is how many durations were recorded.
func (l *Latency) Count() int64 { return l.count }

// Min is the shortest duration, or 0 if there is none.
func (l *Latency) Min() time.Duration { return l.min }

// Max is the longest duration, or 0 if there is none.
func (l *Latency) Max() time.Duration { return l.max }

// Mean is the arithmetic mean, or 0 if there is none.
func (l *Latency) Mean() time.Duration {
	if l.count == 0 {
		return 0
	}
	return time.Duration(math.Round(l.sum / float64(l.count)))
}

// Percentile is the smallest recorded duration that at least p percent of all
// durations do not exceed, to the histogram's precision. It is the nearest rank,
// never an interpolation: every percentile of one duration is that duration, and
// of two the 50th is the shorter and the 99th the longer. Without durations it is
// 0. p is clamped to 0 to 100.
func (l *Latency) Percentile(p float64) time.Duration {
	if l.count == 0 {
		return 0
	}
	n := float64(l.count)
	p = min(max(p, 0), 100)
	// 1e-9 keeps 99.9% of 1000 from being rank 1000 by a rounding error.
	rank := max(math.Ceil(p/100*n-1e-9*n), 1)
	if l.hist == nil {
		upTo := 0.0
		for bar := range unpack(l.kept) {
			if upTo += float64(bar.Count); upTo >= rank {
				return min(max(time.Duration(bar.To)*time.Microsecond, l.min), l.max)
			}
		}
	}
	// The library rounds p·n to the nearest rank. Given the exact share of a
	// rank, it finds that rank.
	d := time.Duration(l.hist.ValueAtPercentile(100*rank/n)) * time.Microsecond
	return min(max(d, l.min), l.max)
}

// MarshalJSON gives the summary that results show: min, mean, p50, p90, p99 and
// max, in seconds; null if nothing was recorded.
func (l *Latency) MarshalJSON() ([]byte, error) {
	if l.count == 0 {
		return []byte("null"), nil
	}
	return json.Marshal(struct {
		Min  float64 `json:"min"`
		Mean float64 `json:"mean"`
		P50  float64 `json:"p50"`
		P90  float64 `json:"p90"`
		P99  float64 `json:"p99"`
		Max  float64 `json:"max"`
	}{
		l.Min().Seconds(), l.Mean().Seconds(), l.Percentile(50).Seconds(),
		l.Percentile(90).Seconds(), l.Percentile(99).Seconds(), l.Max().Seconds(),
	})
}

// latencyVersion is the first byte of the binary form, which is in stores and in
// files of results.
const latencyVersion = 1

// latencyHeader is the length of the binary form before the histogram: version,
// count, a number that is not used any more, sum, min, max.
const latencyHeader = 1 + 5*8

// MarshalBinary gives the whole histogram: the exact figures, then the counts in
// HdrHistogram's V2 compressed encoding.
func (l *Latency) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, latencyHeader+512)
	b = append(b, latencyVersion)
	for _, v := range []uint64{uint64(l.count), 0, math.Float64bits(l.sum), uint64(l.min), uint64(l.max)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	if l.count == 0 {
		return b, nil
	}
	whole := Latency{hist: l.hist, kept: l.kept}
	whole.open() // and l stays small
	counts, err := whole.hist.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return nil, fmt.Errorf("encode latency histogram: %w", err)
	}
	return append(b, counts...), nil
}

// UnmarshalBinary replaces l by what MarshalBinary gave.
func (l *Latency) UnmarshalBinary(b []byte) error {
	if len(b) < latencyHeader {
		return fmt.Errorf("decode latency histogram: %d bytes are too few", len(b))
	}
	if b[0] != latencyVersion {
		return fmt.Errorf("decode latency histogram: version %d is unknown", b[0])
	}
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[1+8*i:]) }
	got := Latency{
		count: int64(at(0)),
		sum:   math.Float64frombits(at(2)),
		min:   time.Duration(at(3)),
		max:   time.Duration(at(4)),
	}
	if got.count == 0 {
		if len(b) != latencyHeader {
			return errors.New("decode latency histogram: counts without samples")
		}
		*l = Latency{}
		return nil
	}
	hist, err := hdrhistogram.Decode(b[latencyHeader:])
	if err != nil {
		return fmt.Errorf("decode latency histogram: %w", err)
	}
	if hist.LowestTrackableValue() != 1 || hist.HighestTrackableValue() != int64(highestLatency/time.Microsecond) || hist.SignificantFigures() != latencyDigits {
		return errors.New("decode latency histogram: another range or precision")
	}
	if hist.TotalCount() != got.count {
		return fmt.Errorf("decode latency histogram: %d samples announced, %d found", got.count, hist.TotalCount())
	}
	if got.count < 0 || got.min < 0 || got.min > got.max || math.IsNaN(got.sum) || got.sum < 0 {
		return errors.New("decode latency histogram: contradictory figures")
	}
	got.kept = pack(hist)
	*l = got
	return nil
}

// pack keeps the counts of a histogram of newHistogram's range that are not 0, in some
// bytes each: how many counts there are between it and the one before, and the count.
func pack(hist *hdrhistogram.Histogram) []byte {
	var packed []byte
	next := 0
	for i, count := range hist.Export().Counts {
		if count != 0 {
			packed = binary.AppendUvarint(binary.AppendUvarint(packed, uint64(i-next)), uint64(count))
			next = i + 1
		}
	}
	return slices.Clip(packed)
}

// unpack gives what pack kept. The library's indexes are 2,048 steps of 1, and then 1,024
// of each power of 2.
func unpack(packed []byte) iter.Seq[hdrhistogram.Bar] {
	const half = 1024
	return func(yield func(hdrhistogram.Bar) bool) {
		for left, next := packed, 0; len(left) > 0; next++ {
			skipped, n := binary.Uvarint(left)
			count, m := binary.Uvarint(left[n:])
			left = left[n+m:]
			next += int(skipped)
			shift, step := max(next/half-1, 0), next
			if next >= half {
				step = next%half + half
			}
			from := int64(step) << shift
			if !yield(hdrhistogram.Bar{From: from, To: from + 1<<shift - 1, Count: int64(count)}) {
				return
			}
		}
	}
}

// A Bin is a range of durations and how many were recorded in it.
type Bin struct {
	From, To time.Duration
	Count    int64
}

// Bins counts the durations in n ranges of equal width, from the shortest to the
// longest, for a chart. Each counts where the histogram keeps it, which is precise
// to three digits. Bins is nil if nothing was recorded, and one bin if all
// durations are the same.
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
	for bar := range l.bars() {
		middle := time.Duration(bar.From+bar.To) * time.Microsecond / 2
		at := int(float64(middle-l.min) / width)
		bins[min(max(at, 0), n-1)].Count += bar.Count
	}
	return bins
}
