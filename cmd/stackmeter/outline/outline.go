// Package outline writes down what a plan would do, for who reads it before it is
// done.
package outline

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/estimate"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/container"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// pastRuns is how many runs of a scenario the estimate of its time is from.
const pastRuns = 3

// pastLooked is among how many runs of the scenario those are looked for: some may
// not have ended, or be imported.
const pastLooked = 30

// Past are the last runs of a plan's scenario that the store holds; nil is no store.
func Past(ctx context.Context, store results.Store, p scenarios.Plan) (past []estimate.Past) {
	if store == nil {
		return nil
	}
	// What cannot be read is no reason not to run.
	runs, _ := store.Runs(ctx, results.Scope{Scenario: p.Scenario}, pastLooked)
	for _, run := range runs {
		if run.Outcome == "" || run.Imported != "" || len(past) == pastRuns {
			continue
		}
		if run, records, err := store.Run(ctx, run.ID); err == nil {
			past = append(past, estimate.Past{Run: run, Records: records})
		}
	}
	return past
}

// Took is what the stacks of each topology took at most in earlier runs: records with
// nothing else.
func Took(past []estimate.Past) (took []results.Record) {
	most := func(a, b *int64) *int64 {
		if a == nil || b != nil && *b > *a {
			return b
		}
		return a
	}
	for _, p := range past {
		for _, r := range p.Records {
			i := slices.IndexFunc(took, func(t results.Record) bool { return t.Topology.Name == r.Topology.Name })
			if i < 0 {
				i, took = len(took), append(took, results.Record{Topology: r.Topology})
			}
			took[i].Memory.Peak = most(took[i].Memory.Peak, r.Memory.Peak)
			took[i].GPU.OverBaseline = most(took[i].GPU.OverBaseline, r.GPU.OverBaseline)
		}
	}
	return took
}

// Time says how long a plan will take, from what it took before.
func Time(past []estimate.Past, p scenarios.Plan) string {
	took := estimate.Of(p, past)
	if p.Search != nil && p.Search.Time > 0 && p.Search.Time.Seconds() < took.Seconds {
		return "at most about " + units.Seconds.Format(p.Search.Time.Seconds()) + ": what the search may take"
	}
	return words.Estimate(took)
}

// Write writes what a run would do, and how long it would take.
func Write(to io.Writer, p scenarios.Plan, time string) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	if p.Search != nil {
		writeSearch(w, p, time)
	} else {
		writeMatrix(w, p, time)
	}
	fmt.Fprintf(w, "ready: when %s, within %v (app.ready)\n", show.Line(p.App.Ready.String()), p.App.Ready.Timeout)
	printContainers(w, p)
	printAxes(w, p)
	if p.Search != nil {
		fmt.Fprintf(w, "\ncandidates\n")
	}
	repeats := "repeat"
	if p.Fresh == scenarios.FreshRun {
		repeats = "round"
	}
	repeat := 0
	for _, t := range p.Trials {
		if t.Repeat != repeat && p.Search == nil {
			repeat = t.Repeat
			start := ""
			if p.Starts > 1 && p.FirstPass(repeat) {
				start = fmt.Sprintf(", start %d", p.Start(repeat))
			}
			fmt.Fprintf(w, "\n%s %d%s\n", repeats, repeat, start)
		}
		var loads []string
		for _, c := range t.Cells {
			loads = append(loads, c.Load.Name())
		}
		fmt.Fprintf(w, "  %s\t%s\n", t.Topology.Name, strings.Join(loads, "  "))
	}
	return w.Flush()
}

// writeSearch says what is searched for and how, and when it ends.
func writeSearch(w io.Writer, p scenarios.Plan, time string) {
	topologies := verdict.GroupBy(p.Trials, func(t scenarios.Trial) string { return t.Topology.Name })
	loads := map[string]bool{}
	for _, t := range p.Trials {
		for _, c := range t.Cells {
			loads[c.Load.Name()] = true
		}
	}
	s := p.Search
	fmt.Fprintf(w, "%s: a search for %s, %s for each; measured whole, %d times, it would be %s\n", p.Scenario,
		show.Plural(len(loads), "answer"), show.Plural(len(topologies), "candidate"), p.Repeats, show.Plural(p.Cells()*p.Repeats, "cell"))
	within := "no budget"
	if goal, err := verdict.NewGoal(s.Recommend); err == nil && len(goal.Under) > 0 {
		within = "within " + strings.Join(goal.Bounds(), ", ")
	}
	fmt.Fprintf(w, "answer: the best %s, %s\n", s.Objective, within)
	ends := ""
	if s.Time > 0 {
		ends = ", or after " + units.Seconds.Format(s.Time.Seconds())
	}
	fmt.Fprintf(w, "ends: when it is sure to %.4g%% that no other one is more than %.3g%% better%s\n", 100*s.Confidence, 100*s.Within, ends)
	fmt.Fprintln(w, "rounds: stacks that fit beside each other stay up, short loads come before whole ones, and a candidate leaves once it cannot be the answer;")
	fmt.Fprintln(w, "  one that is the same but larger than what ran out of memory, or of a memory budget, is not started")
	fmt.Fprintf(w, "time: %s\n", time)
	writeAnswers(w, p)
}

// writeAnswers says what answers are good ones, and how many others a cell may have.
func writeAnswers(w io.Writer, p scenarios.Plan) {
	allowed := "none"
	if limit := p.Request.MaxErrors; limit != nil {
		allowed = limit.String()
	}
	fmt.Fprintf(w, "answers: %s\n", show.Line(p.Request.Expected()))
	fmt.Fprintf(w, "errors: request.max_errors allows a cell %s; with more it fails\n", allowed)
}

// writeMatrix says what is measured of the whole matrix, how often and in what order.
func writeMatrix(w io.Writer, p scenarios.Plan, time string) {
	requests := 0
	for _, t := range p.Trials {
		for _, c := range t.Cells {
			requests += c.Load.Requests
		}
	}
	order, repeats, stacks := p.Order, "repeat", len(p.Trials)
	if p.Fresh == scenarios.FreshRun {
		repeats, stacks = "round", len(verdict.GroupBy(p.Trials, func(t scenarios.Trial) string { return fmt.Sprint(t.Topology.Name, p.Start(t.Repeat)) }))
	}
	if order == scenarios.OrderShuffle {
		order = fmt.Sprintf("shuffled within each %s by seed %d", repeats, p.Seed)
		if p.Prune {
			order += ", of the same server the smallest first"
		}
	}
	most := ""
	if p.Until != nil {
		most = "at most "
	}
	fmt.Fprintf(w, "%s: %s%s, %s, %s and %d of warm-up for each worker; order: %s\n",
		p.Scenario, most, show.Plural(stacks, "stack"), show.Plural(p.Cells(), "cell"), show.Plural(requests, "request"), p.Warmup, order)
	fmt.Fprintf(w, "time: %s\n", time)
	writeAnswers(w, p)
	if p.Fresh == scenarios.FreshRun {
		fmt.Fprintf(w, "rounds: stacks that fit beside each other stay up for %s, and are measured one cell at a time; memory is that of the first\n",
			show.Plural(p.Repeats/p.Starts, "round"))
	}
	if lanes := p.Lanes; lanes == scenarios.AutoLanes || lanes > 1 {
		number := "as many as there are devices for"
		if lanes > 1 {
			number = fmt.Sprint(lanes)
		}
		fmt.Fprintf(w, "lanes: %s, each with devices of its own where there are any; they measure side by side unless a check before the first cell shows that they disturb each other\n", number)
	}
	if p.Until != nil && p.Fresh == scenarios.FreshRun {
		fmt.Fprintf(w, "a cell has from %d to %d rounds, until the 95%% interval of its median duration is within %.3g%%\n",
			max(p.Until.Min, scenarios.IntervalRepeats), p.Repeats, 100*p.Until.Within)
	} else if p.Until != nil {
		fmt.Fprintf(w, "a stack is started again, from %d to %d times, until the 95%% interval of every median duration on it is within %.3g%%\n",
			max(p.Until.Min, scenarios.IntervalRepeats), p.Repeats, 100*p.Until.Within)
	}
	if p.Prune {
		fmt.Fprintln(w, "prune: where a topology runs out of memory, those that are the same with more workers or threads are not started at that load or a heavier one")
	}
}

// printAxes says what the values are that names do not say.
func printAxes(w io.Writer, p scenarios.Plan) {
	lines := map[string]bool{}
	for _, trial := range p.Trials {
		t := trial.Topology
		for axis, value := range t.Axes {
			if value != "true" && value != "false" && !strings.Contains(t.Name, value) {
				lines[fmt.Sprintf("axes: in %s, %s is %s\n", show.Line(t.Name), show.Line(axis), show.Quote(value))] = true
			}
		}
	}
	for _, line := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprint(w, line)
	}
}

// printContainers prints what the containers of each service are given beyond the
// usual, once for the app and then where another service differs.
func printContainers(w io.Writer, p scenarios.Plan) {
	said := map[string]bool{}
	line := func(of string, o container.Options) {
		if words := strings.Join(o.Words(), ", "); !said[of] && words != "" {
			said[of] = true
			fmt.Fprintf(w, "containers%s: %s\n", show.Line(of), show.Line(words))
		}
	}
	line("", p.App.Options)
	for _, trial := range p.Trials {
		t := trial.Topology
		if !t.Same(container.Options{}) {
			line(" of "+t.Name, t.Over(p.App.Options))
		}
		for _, s := range t.Services {
			if !s.Same(container.Options{}) {
				line(" of "+t.Name+", service "+s.Name, s.Over(t.Over(p.App.Options)))
			}
		}
	}
}
