package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

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
type progress interface {
	event(orchestrator.Event)
	close()
}

func (a *app) newProgress(mode string) (progress, error) {
	switch mode {
	case progressAuto:
		if isTerminal(a.stderr.to) {
			return barsBehind{a.stderr, newBars(a.stderr.to)}, nil
		}
		return plain{a.stderr}, nil
	case progressPlain:
		return plain{a.stderr}, nil
	case progressJSON:
		return lines{json.NewEncoder(a.stderr)}, nil
	case progressNone:
		return plain{io.Discard}, nil
	}
	return nil, unknown("progress", mode, []string{progressAuto, progressPlain, progressJSON, progressNone})
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

// lines prints one JSON object for each event.
type lines struct{ enc *json.Encoder }

func (l lines) event(e orchestrator.Event) { _ = l.enc.Encode(e) }
func (l lines) close()                     {}

// plain prints a line for each event that a reader of logs wants.
type plain struct{ w io.Writer }

func (p plain) event(e orchestrator.Event) {
	if line := describe(e); line != "" {
		fmt.Fprintf(p.w, "%s %s\n", e.Time.Format("15:04:05"), line)
	}
}
func (p plain) close() {}

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
	case orchestrator.EventStart:
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
