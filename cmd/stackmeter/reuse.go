package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// reuseFlag adds --reuse.
func reuseFlag(cmd *cobra.Command, within *time.Duration) {
	cmd.Flags().Func("reuse", "take cells that the store holds as ok and that are not older than this `TIME`, such as 7d or 12h, instead of measuring them: of the same images, settings and kind of machine; reports say which", func(text string) error {
		days, is := strings.CutSuffix(text, "d")
		n, err := strconv.ParseFloat(days, 64)
		if is && err == nil {
			*within = time.Duration(n * float64(24*time.Hour))
		} else if *within, err = units.ParseDuration(text); err != nil {
			return err
		}
		if *within <= 0 {
			return fmt.Errorf("%s is not above 0: for example 7d", text)
		}
		return nil
	})
}

// checkReuse refuses --reuse where it would not say what the run is asked.
func checkReuse(plan scenarios.Plan, o runOptions) error {
	if o.reuse == 0 {
		return nil
	}
	thresholds, err := o.gate.thresholds(plan)
	if err != nil {
		return err
	}
	switch {
	case needsBaseline(thresholds) || o.gate.compare != "":
		return usage.Errorf("--reuse: what is held against earlier runs has to be measured, or it would be held against itself; leave out --reuse, or the thresholds with base and --compare")
	case o.runtime.Name != runtimes.Names[0]:
		// A local app has no image, and what a cluster's nodes are is not the run's Host.
		return usage.Errorf("--reuse: whether app and machine are as they were can be told with --runtime %s alone; leave out --reuse", runtimes.Names[0])
	}
	return nil
}
