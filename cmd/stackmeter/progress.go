package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/scenarios/show"
)

// Ways to show progress.
const (
	progressAuto  = "auto" // bars on a terminal, plain lines elsewhere
	progressPlain = "plain"
	progressJSON  = "json"
	progressNone  = "none"
)

// A progress shows what a run is doing, on standard error.
type progress struct {
	event func(orchestrator.Event)
	close func()
}

func (a *app) newProgress(mode string) (progress, error) {
	p := progress{event: func(orchestrator.Event) {}, close: func() {}}
	switch {
	case mode == progressAuto && isTerminal(a.stderr.to):
		// The teller draws the bars, so that only it waits for the terminal.
		b := &bars{all: mpb.New(mpb.WithOutput(a.stderr.to), mpb.WithWidth(40))}
		p.event = func(e orchestrator.Event) { a.stderr.do(func() { b.event(e) }) }
		p.close = func() {
			a.stderr.do(b.close)
			a.stderr.flush(flushTimeout)
		}
	case mode == progressAuto, mode == progressPlain:
		p.event = func(e orchestrator.Event) {
			if line := describe(e); line != "" {
				fmt.Fprintf(a.stderr, "%s %s\n", e.Time.Format("15:04:05"), line)
			}
		}
	case mode == progressJSON:
		lines := json.NewEncoder(a.stderr)
		p.event = func(e orchestrator.Event) { _ = lines.Encode(e) }
	case mode != progressNone:
		return p, unknown("progress", mode, []string{progressAuto, progressPlain, progressJSON, progressNone})
	}
	return p, nil
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// reportOptions fit a report to the terminal that it goes to, if it is one.
func (a *app) reportOptions(w io.Writer) report.Options {
	f, ok := w.(*os.File)
	if !ok || !isTerminal(w) {
		return report.Options{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	return report.Options{Width: width, Color: os.Getenv("NO_COLOR") == ""}
}

// describe puts an event into words. It returns nothing for events that only move
// a bar.
func describe(e orchestrator.Event) string {
	switch e.Kind {
	case orchestrator.EventNote, orchestrator.EventStuck:
		return show.Clean(e.Message)
	case orchestrator.EventRun:
		return show.Plural(e.Trials, "stack") + " to start, " + show.Plural(e.Requests, "request") + " to send"
	case orchestrator.EventImage:
		return "image: " + show.Clean(e.Message)
	case orchestrator.EventRound:
		return fmt.Sprintf("round %d of %d", e.Repeat, e.Rounds)
	case orchestrator.EventStart:
		if e.Rounds > 0 {
			return fmt.Sprintf("[%d/%d] %s: start", e.Trial, e.Trials, e.Topology)
		}
		return fmt.Sprintf("[%d/%d] %s: start (repeat %d)", e.Trial, e.Trials, e.Topology, e.Repeat)
	case orchestrator.EventReady:
		return e.Topology + ": ready"
	case orchestrator.EventResult:
		return resultLine(e)
	}
	return ""
}

func resultLine(e orchestrator.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: ", e.Cell)
	if e.Status == results.StatusOK && e.Duration != nil {
		fmt.Fprintf(&b, "%.2f s", *e.Duration)
	} else {
		first, _, _ := strings.Cut(show.Clean(e.Message), "\n")
		fmt.Fprintf(&b, "%s: %s", e.Status, first)
	}
	if len(e.Flags) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(e.Flags, ", "))
	}
	return b.String()
}

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

func (b *bars) event(e orchestrator.Event) {
	switch e.Kind {
	case orchestrator.EventNote, orchestrator.EventStuck, orchestrator.EventResult, orchestrator.EventImage, orchestrator.EventRound:
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

// tellerQueue is how many messages may wait for standard error.
const tellerQueue = 1024

// How long the end of a command waits until the last messages are written.
const (
	flushTimeout = time.Second
	flushHurry   = 200 * time.Millisecond // of a command that has no time left
)

// A teller writes to standard error from a goroutine of its own. A terminal that
// is stopped or a pipe that nobody reads then holds up neither a measurement nor
// the end of the command. Messages that do not fit into the queue are dropped, and
// the reader is told how many as soon as there is one.
type teller struct {
	to      io.Writer
	queue   chan func()
	dropped atomic.Int64 // messages since it was last said
}

func newTeller(to io.Writer) *teller {
	t := &teller{to: to, queue: make(chan func(), tellerQueue)}
	go func() {
		for tell := range t.queue {
			tell()
			if len(t.queue) == 0 {
				t.sayDropped()
			}
		}
	}()
	return t
}

// do calls tell after everything that was queued before. It never waits.
func (t *teller) do(tell func()) {
	select {
	case t.queue <- tell:
	default:
		t.dropped.Add(1)
	}
}

// Write never waits and never fails.
func (t *teller) Write(message []byte) (int, error) {
	message = bytes.Clone(message)
	t.do(func() { _, _ = t.to.Write(message) })
	return len(message), nil
}

func (t *teller) sayDropped() {
	if n := t.dropped.Swap(0); n > 0 {
		fmt.Fprintf(t.to, "stackmeter: %s dropped, because nobody read standard error\n", show.Plural(int(n), "message"))
	}
}

// flush waits until everything is written, for no longer than the limit.
func (t *teller) flush(limit time.Duration) {
	late := time.After(limit)
	done := make(chan struct{})
	select {
	case t.queue <- func() { t.sayDropped(); close(done) }:
	case <-late:
		return
	}
	select {
	case <-done:
	case <-late:
	}
}
