//go:build linux && cgo

package nvml

import (
	"context"
	"runtime"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
)

// BenchmarkSampler says what sampling at the default intervals costs and how
// even it is: one operation is a cell of two seconds. The fake driver reads
// files at each call, which costs more than the real one's call of 12 µs.
//
//	cpu-%      of one core, that the whole process used meanwhile
//	gap-p99-ms, gap-max-ms
func BenchmarkSampler(b *testing.B) {
	for _, bm := range []struct {
		name string
		busy int // processes beside it that do nothing but compute
	}{{"idle", 0}, {"cores-saturated", runtime.NumCPU()}} {
		b.Run(bm.name, func(b *testing.B) {
			s := fakedriver.New(b, 1)
			w := newWorker(b, s)
			w.hold(0, 500*mib, "")
			for range bm.busy {
				saturate(b)
			}
			sampler := &gpu.Sampler{Driver: open(b, s), Settle: time.Millisecond}
			trial, err := sampler.Trial(b.Context(), []string{"0"})
			if err != nil {
				b.Fatal(err)
			}
			defer trial.Close(context.Background())
			var p99, longest time.Duration
			var samples int
			before, began := cpuTime(b), time.Now()
			for b.Loop() {
				cell := trial.Cell()
				time.Sleep(2 * time.Second)
				u := cell.Stop()
				p99, longest, samples = max(p99, u.P99Gap), max(longest, u.MaxGap), samples+u.Samples
			}
			wall := time.Since(began)
			b.ReportMetric(100*float64(cpuTime(b)-before)/float64(wall), "cpu-%")
			b.ReportMetric(p99.Seconds()*1000, "gap-p99-ms")
			b.ReportMetric(longest.Seconds()*1000, "gap-max-ms")
			b.ReportMetric(float64(samples)/wall.Seconds(), "samples/s")
		})
	}
}

// BenchmarkReaderMemory is one reading of the memory through cgo.
func BenchmarkReaderMemory(b *testing.B) {
	r := readerOf(b, open(b, fakedriver.New(b, 1)))
	for b.Loop() {
		if _, err := r.Memory(); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
