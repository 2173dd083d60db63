package main

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict/history"
)

func (a *app) historyCommand() *cobra.Command {
	var db, scenario, cell string
	var metrics []string
	var last int
	var o outputOptions
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show each cell over its last runs, and where its level changed",
		Long: `history shows figures of each cell of a scenario over its last runs, and the steps
where the level of a cell, or of all together, changed: how much, with which run, what
else changed with it, and whether it ended. It takes two or three runs to show: one bad
night is no step. A level that changes a little with every run is said to drift.`,
		Example: `  stackmeter history
  stackmeter history --scenario nightly --cell 'nginx*' --metric p99 --last 90`,
		Args: usage.Arguments(cobra.NoArgs),
		RunE: withStore(&db, func(ctx context.Context, store results.Store, _ []string) error {
			var figures []results.Figure
			for _, name := range metrics {
				m, err := results.FindMetric(name)
				if err != nil {
					return usage.Errorf("--metric: %w", err)
				}
				if slices.ContainsFunc(figures, func(f results.Figure) bool { return f.Name == m.Name }) {
					return usage.Errorf("--metric: %s is named twice", name)
				}
				figures = append(figures, m)
			}
			if last < 1 || last > 1000 {
				return usage.Errorf("--last %d: it has to be from 1 to 1000", last)
			}
			all, err := history.Read(ctx, store, scenario, cell, figures, last)
			if err != nil {
				return err
			}
			if cell != "" && !slices.ContainsFunc(all, func(h history.History) bool { return len(h.Cells) > 0 }) {
				return usage.Errorf("--cell %s: no cell of these runs has such a name", cell)
			}
			return a.write(o, func(dir string) ([]string, error) {
				return pages.WriteHistoryCharts(dir, all)
			}, func(w io.Writer) error {
				return pages.HistoryFormats(all).Write(w, o.format, console.ReportOptions(w))
			})
		}),
	}
	storeFlag(cmd, &db)
	cmd.Flags().StringVar(&scenario, "scenario", "", "the `NAME` of a scenario; by default that of the latest run")
	cmd.Flags().StringVar(&cell, "cell", "", "only cells whose name matches this `GLOB`; * matches slashes too")
	cmd.Flags().StringSliceVar(&metrics, "metric", nil, "the `FIGURE`s; by default the duration and the peak memory")
	cmd.Flags().IntVar(&last, "last", 60, "how many runs")
	o.flags(cmd, pages.HistoryFormats(nil).Names())
	o.chartsFlag(cmd)
	return cmd
}
