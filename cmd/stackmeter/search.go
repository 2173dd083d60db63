package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// searchOptions say what is searched for, over what the scenario says.
type searchOptions struct {
	under                               []string
	objective, within, confidence, time string
}

func (a *app) searchCommand() *cobra.Command {
	var o runOptions
	var s searchOptions
	cmd := &cobra.Command{
		Use:   "search SCENARIO",
		Short: "Find the best topology for each load of a scenario, without measuring all of its matrix",
		Long: `search takes the topologies of a scenario for candidates. It measures them in
rounds over stacks that stay up, short loads first, and a candidate leaves as soon as
it cannot be the answer. It ends when the answer for each load is as sure as was asked
for, or when the time is up; the report says how sure it is and why each candidate left.
What the scenario says of fresh, starts, lanes, order and prune does not count unless it
has a search block, whose values the flags replace; without one its recommend block says
what is searched for.

Metrics: ` + strings.Join(results.Vocabulary().Names(), ", ") + `.
Exit status: 0 each load has an answer; 3 one has none, or a candidate could not be measured for another reason than memory.`,
		Example: `  stackmeter search scenarios/quickstart.yaml --under memory_peak=1GiB --time 20m
  stackmeter search scenarios/gpu.yaml --under gpu_peak=5GiB --under p99=2s --within 5% --confidence 90%
  stackmeter search scenarios/gpu.yaml --under gpu_peak=5GiB --resume --time 1h`,
		Args: usage.Scenario(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.arguments(cmd, args); err != nil {
				return err
			}
			var err error
			if o.plan.search, err = s.settings(); err != nil {
				return usage.Error(err)
			}
			return a.run(cmd.Context(), o)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringArrayVar(&s.under, "under", nil, "a budget, `METRIC=VALUE`, for example gpu_peak=5GiB, p99=500ms or throughput=10/s; may be repeated")
	cmd.Flags().StringVar(&s.objective, "objective", "", "the `METRIC` that is to be best (default duration)")
	cmd.Flags().StringVar(&s.within, "within", "", "by how much, `PERCENT`, another topology may be better than the answer (default 2%)")
	cmd.Flags().StringVar(&s.confidence, "confidence", "", "how sure, in `PERCENT`, that has to be (default 95%)")
	cmd.Flags().StringVar(&s.time, "time", "", "end after this `TIME` with the answer so far; of a run that is resumed, what it took before counts (default until it is sure)")
	return cmd
}

// settings are the flags as values of a scenario, whose parser checks them.
func (s searchOptions) settings() ([]scenarios.Setting, error) {
	all := []scenarios.Setting{}
	for _, text := range s.under {
		if _, err := verdict.ParseBudget(text); err != nil {
			return nil, fmt.Errorf("--under: %w", err)
		}
		metric, value, _ := strings.Cut(text, "=")
		all = append(all, scenarios.Setting{From: "--under", Path: "search.under." + strings.TrimSpace(metric), Value: value})
	}
	for _, f := range []struct{ name, value string }{{"objective", s.objective}, {"within", s.within}, {"confidence", s.confidence}, {"time", s.time}} {
		if f.value == "" {
			continue
		}
		text, err := json.Marshal(f.value) // which is YAML
		if err != nil {
			return nil, err
		}
		all = append(all, scenarios.Setting{From: "--" + f.name, Path: "search." + f.name, Value: string(text)})
	}
	return all, nil
}
