package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/results"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

var errNothingFits = errors.New("no cell is within the budgets")

type recommendOptions struct {
	db        string
	under     []string
	objective string
	load      string
	rate      string
	out       outputOptions
}

func (a *app) recommendCommand() *cobra.Command {
	var o recommendOptions
	cmd := &cobra.Command{
		Use:   "recommend [RUN]",
		Short: "Choose the topology to deploy for each load, within budgets of memory, latency and more",
		Long: `recommend chooses for each load of a stored run the topology with the best median
of the objective within every budget: the load is the traffic, the topology is the
choice. For an open loop at a rate, whose duration is its schedule's, it is the one with
the least memory that served the rate. Of one load it says more: the runner-up, what
more memory would buy, and whether the repeats show a difference at all. Without
flags it takes the scenario's recommend block.

Metrics: ` + strings.Join(results.Vocabulary().Names(), ", ") + `.
A budget of a metric of which more is better, such as throughput, is a lower limit. Exit status 4: for a load nothing fits.`,
		Example: `  stackmeter recommend --under gpu_peak=5GiB --under p99=2s
  stackmeter recommend --load 'open20*' --under p99=500ms --for 100/s
  stackmeter recommend 20261123-081530-7f3a --objective throughput --under memory_peak=800MiB --format markdown`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.recommend(cmd, o, strings.Join(args, ""))
		},
	}
	storeFlag(cmd, &o.db)
	cmd.Flags().StringArrayVar(&o.under, "under", nil, "a budget, `METRIC=VALUE`, for example gpu_peak=5GiB, p99=500ms or throughput=10/s; may be repeated")
	cmd.Flags().StringVar(&o.objective, "objective", "", "the `METRIC` to optimise (default duration)")
	cmd.Flags().StringVar(&o.load, "load", "", "only the loads that a `PATTERN` names: mt10, or mt*")
	cmd.Flags().StringVar(&o.rate, "for", "", "say how many of each topology a `RATE` takes, for example 100/s")
	o.out.flags(cmd, pages.RecommendFormats(results.Run{}, nil, 0).Names())
	return cmd
}

// mostFor is the most requests per second that the copies of a stack are counted for.
const mostFor = 1e9

func (a *app) recommend(cmd *cobra.Command, o recommendOptions, id string) error {
	if _, err := o.goal(nil); err != nil {
		return usageError{err}
	}
	rate := 0.0
	if cmd.Flags().Changed("for") {
		var err error
		if rate, err = units.Parse(o.rate, units.PerSecond); err != nil {
			return usageError{fmt.Errorf("--for %s is not a rate: for example 100/s", show.Quote(o.rate))}
		}
		if err := units.PerSecond.InRange("--for", rate, scenarios.LowestRate, mostFor); err != nil {
			return usageError{err}
		}
	}
	store, err := openStore(cmd.Context(), o.db)
	if err != nil {
		return err
	}
	defer store.Close()
	run, records, err := store.Run(cmd.Context(), id)
	if err != nil {
		return err
	}
	goal, err := o.goal(run.Plan.Recommend)
	if err != nil {
		return usageError{fmt.Errorf("run %s: recommend: %w", run.ID, err)}
	}
	loads := verdict.Recommend(verdict.Summarise(records), run.Plan.Baseline, goal)
	if cmd.Flags().Changed("load") {
		if loads, err = loadsOf(loads, o.load); err != nil {
			return usageError{err}
		}
	}
	if err := a.output(o.out.file, func(w io.Writer) error {
		return pages.RecommendFormats(run, loads, rate).Write(w, o.out.format, a.reportOptions(w))
	}); err != nil {
		return err
	}
	var without []string
	for _, r := range loads {
		if r.Best == nil {
			without = append(without, show.Line(verdict.ModeName(r.Load)))
		}
	}
	switch {
	case len(without) == len(loads):
		return errNothingFits
	case len(without) > 0:
		return fmt.Errorf("%w at %s", errNothingFits, strings.Join(without, ", "))
	}
	return nil
}

// loadsOf are those that a pattern names.
func loadsOf(loads []verdict.Recommendation, pattern string) ([]verdict.Recommendation, error) {
	var kept []verdict.Recommendation
	var names []string
	for _, r := range loads {
		name := verdict.ModeName(r.Load)
		names = append(names, name)
		if is, err := path.Match(pattern, name); err != nil {
			return nil, fmt.Errorf("--load %s is not a pattern: for example mt10 or mt*", show.Quote(pattern))
		} else if is {
			kept = append(kept, r)
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("--load %s names no load of the run: it has %s", show.Quote(pattern), show.Line(strings.Join(names, ", ")))
	}
	return kept, nil
}

// goal is what the flags ask for, or the scenario where they say nothing.
func (o recommendOptions) goal(planned *scenarios.Recommend) (verdict.Goal, error) {
	var asked scenarios.Recommend
	if planned != nil {
		asked = *planned
	}
	asked.Objective = cmp.Or(o.objective, asked.Objective, results.MetricDuration)
	if len(o.under) == 0 {
		return verdict.NewGoal(asked)
	}
	goal, err := verdict.NewGoal(scenarios.Recommend{Objective: asked.Objective})
	if err != nil {
		return goal, err
	}
	for _, text := range o.under {
		budget, err := verdict.ParseBudget(text)
		if err != nil {
			return goal, fmt.Errorf("--under: %w", err)
		}
		goal.Under = append(goal.Under, budget)
	}
	return goal, nil
}
