// Package console is standard error and what is shown there while a run goes on,
// and the terminal that a report is fitted to.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/scenarios/show"
)

// Ways to show progress.
const (
	ProgressAuto  = "auto" // bars on a terminal, plain lines elsewhere
	ProgressPlain = "plain"
	ProgressJSON  = "json"
	ProgressNone  = "none"
)

// A Progress shows what a run is doing, on standard error.
type Progress struct {
	Event func(orchestrator.Event)
	Close func()
}

// NewProgress returns the progress of a --progress. Its errors are usage errors.
func (t *Teller) NewProgress(mode string) (Progress, error) {
	p := Progress{Event: func(orchestrator.Event) {}, Close: func() {}}
	switch {
	case mode == ProgressAuto && t.Terminal():
		// The teller draws the bars, so that only it waits for the terminal.
		b := &bars{all: mpb.New(mpb.WithOutput(t.to), mpb.WithWidth(40))}
		p.Event = func(e orchestrator.Event) { t.do(func() { b.event(e) }) }
		p.Close = func() {
			t.do(b.close)
			t.Flush(FlushTimeout)
		}
	case mode == ProgressAuto, mode == ProgressPlain:
		p.Event = func(e orchestrator.Event) {
			if line := describe(e); line != "" {
				fmt.Fprintf(t, "%s %s\n", e.Time.Format("15:04:05"), line)
			}
		}
	case mode == ProgressJSON:
		lines := json.NewEncoder(t)
		p.Event = func(e orchestrator.Event) { _ = lines.Encode(e) }
	case mode != ProgressNone:
		return p, usage.Unknown("progress", mode, []string{ProgressAuto, ProgressPlain, ProgressJSON, ProgressNone})
	}
	return p, nil
}

// Terminal reports whether somebody sees what is told.
func (t *Teller) Terminal() bool { return isTerminal(t.to) }

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// ReportOptions fit a report to the terminal that it goes to, if it is one.
func ReportOptions(w io.Writer) report.Options {
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

// describe puts an event into words, with its lane where there are several. It returns
// nothing for events that only move a bar.
func describe(e orchestrator.Event) string {
	text := words(e)
	if text == "" {
		return ""
	}
	return ofLane(e, text)
}

func ofLane(e orchestrator.Event, text string) string {
	if e.Lane > 0 {
		return fmt.Sprintf("lane %d: %s", e.Lane, text)
	}
	return text
}

func words(e orchestrator.Event) string {
	switch e.Kind {
	case orchestrator.EventNote, orchestrator.EventStuck:
		return show.Clean(e.Message)
	case orchestrator.EventRun:
		if e.Candidates > 0 {
			return fmt.Sprintf("%s for %s to search among", show.Plural(e.Candidates, "candidate"), show.Plural(e.Candidates/max(1, e.Trials), "load"))
		}
		return show.Plural(e.Trials, "stack") + " to start, " + show.Plural(e.Requests, "request") + " to send"
	case orchestrator.EventImage:
		return "image: " + show.Clean(e.Message)
	case orchestrator.EventLeft:
		return e.Cell + " is out: " + show.Clean(e.Message)
	case orchestrator.EventRound:
		if e.Rounds == 0 {
			return fmt.Sprintf("round %d: %s", e.Repeat, show.Clean(e.Message))
		}
		return fmt.Sprintf("round %d of %d", e.Repeat, e.Rounds)
	case orchestrator.EventStart:
		if e.Rounds > 0 || e.Repeat == 0 {
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
	// That there is no GPU was said before the first cell.
	if flags := slices.DeleteFunc(slices.Clone(e.Flags), func(flag string) bool { return flag == results.FlagNoGPU }); len(flags) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(flags, ", "))
	}
	return b.String()
}

// bars are two bars on a terminal. One counts the run's requests and estimates
// the time that is left, or of a search the candidates that are out; the other shows the
// cell that was heard of last. Lines are printed above
// them.
type bars struct {
	all      *mpb.Progress
	run      *mpb.Bar
	cell     *mpb.Bar
	began    time.Time
	finished int64         // requests of the cells that have a record, or candidates that are out
	under    map[int]int64 // by lane: requests of the cell that is under way
	searches bool

	mu    sync.Mutex
	doing string // what the second bar shows
}

func (b *bars) event(e orchestrator.Event) {
	switch e.Kind {
	case orchestrator.EventNote, orchestrator.EventStuck, orchestrator.EventResult, orchestrator.EventImage, orchestrator.EventRound, orchestrator.EventLeft:
		fmt.Fprintln(b.all, describe(e))
	}
	if e.Kind == orchestrator.EventRun {
		b.searches = e.Candidates > 0
		b.begin(int64(e.Requests + e.Candidates))
	}
	if b.run == nil {
		return // images are still being made
	}
	switch e.Kind {
	case orchestrator.EventStart:
		b.show(ofLane(e, e.Topology+": starting"), 0, 0)
	case orchestrator.EventReady:
		b.show(ofLane(e, e.Topology+": warming up"), 0, 0)
	case orchestrator.EventStop:
		b.show(ofLane(e, e.Topology+": removing"), 0, 0)
	case orchestrator.EventCell:
		b.show(ofLane(e, e.Cell), int64(e.Requests), 0)
	case orchestrator.EventLeft:
		b.finished++
		b.move()
	case orchestrator.EventProgress:
		b.show(ofLane(e, e.Cell), int64(e.Requests), int64(e.Done))
		if !b.searches {
			b.under[e.Lane] = int64(e.Done)
			b.move()
		}
	case orchestrator.EventResult, orchestrator.EventSkip:
		if b.searches {
			return
		}
		delete(b.under, e.Lane)
		b.finished += int64(e.Requests)
		b.move()
	}
}

// move moves the run's bar to what is done.
func (b *bars) move() {
	done := b.finished
	for _, requests := range b.under {
		done += requests
	}
	b.run.SetCurrent(done)
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
	b.began, b.under = time.Now(), map[int]int64{}
	counts, rest := "requests %d/%d", func(s decor.Statistics) string { return remaining(time.Since(b.began), s.Current, s.Total) }
	if b.searches {
		counts, rest = "out of the race %d/%d", func(decor.Statistics) string { return "" }
	}
	b.run = b.all.AddBar(requests,
		mpb.PrependDecorators(
			decor.Name("run", decor.WCSyncSpaceR),
			decor.CountersNoUnit(counts, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Percentage(decor.WCSyncSpace), decor.Any(rest)))
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
