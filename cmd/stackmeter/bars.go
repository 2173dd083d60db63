package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"stackmeter/orchestrator"
)

// bars are two bars on a terminal. One counts the run's requests and estimates
// the time that is left, the other shows the current cell. Lines are printed above
// them.
type bars struct {
	all      *mpb.Progress
	run      *mpb.Bar
	cell     *mpb.Bar
	began    time.Time
	finished int64 // requests of the cells that have a record

	mu    sync.Mutex
	doing string // what the second bar shows
}

func newBars(w io.Writer) *bars {
	return &bars{all: mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))}
}

func (b *bars) event(e orchestrator.Event) {
	switch e.Kind {
	case orchestrator.EventNote, orchestrator.EventStuck, orchestrator.EventResult, orchestrator.EventImage:
		fmt.Fprintln(b.all, describe(e))
	}
	if e.Kind == orchestrator.EventRun {
		b.begin(int64(e.Requests))
	}
	if b.run == nil {
		return // images are still being made
	}
	switch e.Kind {
	case orchestrator.EventStart:
		b.show(e.Topology+": starting", 0, 0)
	case orchestrator.EventReady:
		b.show(e.Topology+": warming up", 0, 0)
	case orchestrator.EventStop:
		b.show(e.Topology+": removing", 0, 0)
	case orchestrator.EventCell:
		b.show(e.Cell, int64(e.Requests), 0)
	case orchestrator.EventProgress:
		b.show(e.Cell, int64(e.Requests), int64(e.Done))
		b.run.SetCurrent(b.finished + int64(e.Done))
	case orchestrator.EventResult, orchestrator.EventSkip:
		b.finished += int64(e.Requests)
		b.run.SetCurrent(b.finished)
	}
}

// remaining estimates the time that is left from the requests so far. Starting
// and removing stacks counts as part of them.
func remaining(elapsed time.Duration, done, total int64) string {
	if done <= 0 || done >= total {
		return ""
	}
	left := time.Duration(float64(elapsed) / float64(done) * float64(total-done))
	return fmt.Sprintf(" about %v left", left.Round(time.Second))
}

// begin adds the bars once the number of requests is known.
func (b *bars) begin(requests int64) {
	b.began = time.Now()
	b.run = b.all.AddBar(requests,
		mpb.PrependDecorators(
			decor.Name("run", decor.WCSyncSpaceR),
			decor.CountersNoUnit("requests %d/%d", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(
			decor.Percentage(decor.WCSyncSpace),
			decor.Any(func(s decor.Statistics) string { return remaining(time.Since(b.began), s.Current, s.Total) })))
	b.cell = b.all.AddBar(0,
		mpb.PrependDecorators(
			decor.Name("cell", decor.WCSyncSpaceR),
			decor.CountersNoUnit("requests %d/%d", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return " " + b.doing
		})))
}

// show sets what the second bar shows. The bar was added without a total, so that
// reaching a total does not end it.
func (b *bars) show(doing string, total, current int64) {
	b.mu.Lock()
	b.doing = doing
	b.mu.Unlock()
	b.cell.SetTotal(total, false)
	b.cell.SetCurrent(current)
}

func (b *bars) close() {
	if b.run != nil {
		b.cell.Abort(true)
		b.run.Abort(false)
	}
	b.all.Wait()
}
