package main

import (
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"stackmeter/orchestrator"
	"stackmeter/scenarios/show"
)

// newLoadProgress is newProgress for a load that is sent alone: one bar, or a
// line for each tenth of the requests.
func (a *app) newLoadProgress(mode string) (progress, error) {
	switch mode {
	case progressAuto:
		if isTerminal(a.stderr.to) {
			return barsBehind{a.stderr, &loadBar{all: mpb.New(mpb.WithOutput(a.stderr.to), mpb.WithWidth(40))}}, nil
		}
		return &tenths{w: a.stderr}, nil
	case progressPlain:
		return &tenths{w: a.stderr}, nil
	}
	return a.newProgress(mode)
}

// tenths is a line for each tenth of the requests; none for a load that is over
// before it tells of itself.
type tenths struct {
	w    io.Writer
	told int
}

func (p *tenths) event(e orchestrator.Event) {
	if e.Kind != orchestrator.EventProgress || e.Requests == 0 || e.Done >= e.Requests {
		return
	}
	if tenth := 10 * e.Done / e.Requests; tenth != p.told {
		p.told = tenth
		fmt.Fprintf(p.w, "%s %d of %s\n", e.Time.Format("15:04:05"), e.Done, show.Plural(e.Requests, "request"))
	}
}

func (p *tenths) close() {}

// loadBar is one bar, with what is left. It is removed in the end: the result
// says more.
type loadBar struct {
	all   *mpb.Progress
	bar   *mpb.Bar
	began time.Time
}

func (p *loadBar) event(e orchestrator.Event) {
	if e.Kind == orchestrator.EventCell {
		p.began = e.Time
		p.bar = p.all.AddBar(int64(e.Requests),
			mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.CountersNoUnit("requests %d/%d")),
			mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
				elapsed := time.Since(p.began)
				if s.Current <= 0 || elapsed <= 0 {
					return ""
				}
				return fmt.Sprintf("%.3g/s%s", float64(s.Current)/elapsed.Seconds(), remaining(elapsed, s.Current, s.Total))
			})))
	}
	if e.Kind == orchestrator.EventProgress && e.Done < e.Requests {
		p.bar.SetCurrent(int64(e.Done))
	}
}

func (p *loadBar) close() {
	if p.bar != nil {
		p.bar.Abort(true)
	}
	p.all.Wait()
}
