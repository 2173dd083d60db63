package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"stackmeter/results"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
)

func (a *app) historyCommand() *cobra.Command {
	var db, scenario, cell, metric string
	var last int
	var o outputOptions
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show each cell over its last runs, and where its level changed",
		Long: `history shows one figure of each cell of a scenario over its last runs, and the
steps where its level changed and stayed changed. A permutation test on ranks
finds the steps, not a fixed threshold: one bad night is no step.`,
		Example: `  stackmeter history
  stackmeter history --scenario nightly --cell 'nginx*' --metric p99 --last 60`,
		Args: arguments(cobra.NoArgs),
		RunE: withStore(&db, func(ctx context.Context, store results.Store, _ []string) error {
			m, err := results.FindMetric(metric)
			if err != nil {
				return usageError{fmt.Errorf("--metric: %w", err)}
			}
			if last < 1 || last > 1000 {
				return usageError{fmt.Errorf("--last %d: it has to be from 1 to 1000", last)}
			}
			runs, observations, err := store.History(ctx, scenario, cell, metric, last)
			if err != nil {
				return err
			}
			if len(observations) == 0 && cell != "" {
				return usageError{fmt.Errorf("--cell %s: no cell of these runs has such a name", cell)}
			}
			h := verdict.NewHistory(runs[0].Scenario, m, runs, observations)
			return a.write(o, func(dir string) ([]string, error) {
				return pages.WriteHistoryCharts(dir, h)
			}, func(w io.Writer) error {
				return pages.HistoryFormats(h).Write(w, o.format, a.reportOptions(w))
			})
		}),
	}
	storeFlag(cmd, &db)
	cmd.Flags().StringVar(&scenario, "scenario", "", "the `NAME` of a scenario; by default that of the latest run")
	cmd.Flags().StringVar(&cell, "cell", "", "only cells whose name matches this `GLOB`; * matches slashes too")
	cmd.Flags().StringVar(&metric, "metric", results.MetricDuration, "the figure")
	cmd.Flags().IntVar(&last, "last", 30, "how many runs")
	o.flags(cmd, pages.HistoryFormats(verdict.History{}).Names())
	o.chartsFlag(cmd)
	return cmd
}
