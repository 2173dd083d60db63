package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/results"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

var errNothingFits = errors.New("no cell is within the budgets")

type recommendOptions struct {
	db        string
	under     []string
	objective string
	out       outputOptions
}

func (a *app) recommendCommand() *cobra.Command {
	var o recommendOptions
	cmd := &cobra.Command{
		Use:   "recommend [RUN]",
		Short: "Choose the topology and load to deploy within budgets of memory, latency and more",
		Long: `recommend chooses the clean cell of a stored run with the best median of the
objective within every budget. It names the runner-up, what more memory would buy,
and whether the repeats show a difference at all. Without flags it takes the
scenario's recommend block.

Metrics: ` + strings.Join(results.Vocabulary().Names(), ", ") + `.
A budget of a metric of which more is better, such as throughput, is a lower limit. Exit status 4: nothing fits.`,
		Example: `  stackmeter recommend --under gpu_peak=5GiB --under p99=2s
  stackmeter recommend 20261123-081530-7f3a --objective throughput --under memory_peak=800MiB --format markdown`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.recommend(cmd, o, strings.Join(args, ""))
		},
	}
	storeFlag(cmd, &o.db)
	cmd.Flags().StringArrayVar(&o.under, "under", nil, "a budget, `METRIC=VALUE`, for example gpu_peak=5GiB, p99=500ms or throughput=10/s; may be repeated")
	cmd.Flags().StringVar(&o.objective, "objective", "", "the `METRIC` to optimise (default duration)")
	o.out.flags(cmd, pages.RecommendFormats(results.Run{}, verdict.Recommendation{}).Names())
	return cmd
}

func (a *app) recommend(cmd *cobra.Command, o recommendOptions, id string) error {
	if _, err := o.goal(nil); err != nil {
		return usageError{err}
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
	r := verdict.Recommend(verdict.Summarise(records), run.Plan.Baseline, goal)
	if err := a.output(o.out.file, func(w io.Writer) error {
		return pages.RecommendFormats(run, r).Write(w, o.out.format, a.reportOptions(w))
	}); err != nil {
		return err
	}
	if r.Best == nil {
		return errNothingFits
	}
	return nil
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
