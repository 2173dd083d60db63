package main

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// goalOptions say of which run a topology is chosen, and what for.
type goalOptions struct {
	db        string
	under     []string
	objective string
	load      string
	rate      string
}

type recommendOptions struct {
	goalOptions
	out outputOptions
}

// flags adds the flags.
func (o *goalOptions) flags(cmd *cobra.Command) {
	storeFlag(cmd, &o.db)
	cmd.Flags().StringArrayVar(&o.under, "under", nil, "a budget, `METRIC=VALUE`, for example gpu_peak=5GiB, p99=500ms or throughput=10/s; may be repeated")
	cmd.Flags().StringVar(&o.objective, "objective", "", "the `METRIC` to optimise (default duration)")
	cmd.Flags().StringVar(&o.load, "load", "", "only the loads that a `PATTERN` names: mt10, or mt*")
	cmd.Flags().StringVar(&o.rate, "for", "", "say how many of each topology a `RATE` takes, for example 100/s")
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
		Args: usage.Arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.recommend(cmd, o, strings.Join(args, ""))
		},
	}
	o.goalOptions.flags(cmd)
	o.out.flags(cmd, pages.RecommendFormats(results.Run{}, nil, 0).Names())
	return cmd
}

// mostFor is the most requests per second that the copies of a stack are counted for.
const mostFor = 1e9

// A choice is what a run recommends, and for how many requests per second copies are
// counted; 0: none are.
type choice struct {
	run     results.Run // of a search with what it is asked for now
	records []results.Record
	loads   []verdict.Recommendation
	found   *words.Search // nil of a run that is no search
	rate    float64
}

// choose reads a run and what it recommends.
func (o goalOptions) choose(cmd *cobra.Command, id string) (c choice, err error) {
	if _, err := o.goal(nil); err != nil {
		return c, usage.Error(err)
	}
	if cmd.Flags().Changed("for") {
		if c.rate, err = units.Parse(o.rate, units.PerSecond); err != nil {
			return c, usage.Errorf("--for %s is not a rate: for example 100/s", show.Quote(o.rate))
		}
		if err := units.PerSecond.InRange("--for", c.rate, scenarios.LowestRate, mostFor); err != nil {
			return c, usage.Error(err)
		}
	}
	store, err := openStore(cmd.Context(), o.db)
	if err != nil {
		return c, err
	}
	defer store.Close()
	if c.run, c.records, err = store.Run(cmd.Context(), id); err != nil {
		return c, err
	}
	goal, err := o.goal(c.run.Plan.Recommend)
	if err != nil {
		return c, usage.Errorf("run %s: recommend: %w", c.run.ID, err)
	}
	if c.run.Plan.Search != nil {
		return c, o.find(&c)
	}
	c.loads = verdict.Recommend(verdict.SummariseRun(c.run, c.records), c.run.Plan, goal)
	if cmd.Flags().Changed("load") {
		if c.loads, err = loadsOf(c.loads, o.load); err != nil {
			return c, usage.Error(err)
		}
	}
	return c, nil
}

func (a *app) recommend(cmd *cobra.Command, o recommendOptions, id string) error {
	c, err := o.choose(cmd, id)
	if err != nil {
		return err
	}
	if c.found != nil {
		return a.recommendFound(c, o)
	}
	if err := files.Write(a.stdout, o.out.file, func(w io.Writer) error {
		return pages.RecommendFormats(c.run, c.loads, c.rate).Write(w, o.out.format, console.ReportOptions(w))
	}); err != nil {
		return err
	}
	var without []string
	for _, r := range c.loads {
		if r.Best == nil {
			without = append(without, show.Line(verdict.ModeName(r.Load)))
		}
	}
	return nothingFits(without, len(c.loads))
}

// nothingFits is the error of a recommendation that has none for some of the loads.
func nothingFits(without []string, of int) error {
	switch {
	case len(without) == 0:
		return nil
	case len(without) == of:
		return verdict.ErrNothingFits
	}
	return fmt.Errorf("%w at %s", verdict.ErrNothingFits, strings.Join(without, ", "))
}

// find are the answers of a search. With other budgets, or another objective, they are what
// its records say of those: what it measured was chosen for its own.
func (o goalOptions) find(c *choice) error {
	asked := *c.run.Plan.Search
	asked.Objective = cmp.Or(o.objective, asked.Objective)
	if len(o.under) > 0 {
		asked.Under = map[string]string{}
	}
	for _, text := range o.under {
		budget, err := verdict.ParseBudget(text)
		if err != nil {
			return usage.Errorf("--under: %w", err)
		}
		asked.Under[budget.Metric.Name] = budget.Text
	}
	c.run.Plan.Search = &asked
	if o.load != "" {
		plan, err := c.run.Plan.Only("*/" + o.load)
		if err != nil {
			return usage.Errorf("--load: %w", err)
		}
		c.run.Plan = plan
	}
	c.found = words.SearchOf(c.run, c.records)
	c.loads = c.found.Recommended(c.records)
	return nil
}

// recommendFound prints the answers of a search.
func (a *app) recommendFound(c choice, o recommendOptions) error {
	if err := files.Write(a.stdout, o.out.file, func(w io.Writer) error {
		return pages.FoundFormats(c.run, c.records, c.rate).Write(w, o.out.format, console.ReportOptions(w))
	}); err != nil {
		return err
	}
	var without []string
	for _, answer := range c.found.Answers {
		if answer.Topology == "" {
			without = append(without, show.Line(answer.Load))
		}
	}
	return nothingFits(without, len(c.found.Answers))
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
func (o goalOptions) goal(planned *goals.Recommend) (verdict.Goal, error) {
	var asked goals.Recommend
	if planned != nil {
		asked = *planned
	}
	asked.Objective = cmp.Or(o.objective, asked.Objective, results.MetricDuration)
	if len(o.under) == 0 {
		return verdict.NewGoal(asked)
	}
	goal, err := verdict.NewGoal(goals.Recommend{Objective: asked.Objective})
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
