package main

import (
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/scenarios/units"
)

// waitDefault is how long --wait without a duration waits. A nightly run that has
// not begun after a day has missed its night.
const waitDefault = 24 * time.Hour

func waitFlag(cmd *cobra.Command, wait *time.Duration) {
	usage.TimeFlag(cmd, wait, "wait", 0, "wait up to `TIME`, by default a day, for a run that holds the GPU or the machine; without --wait the run is refused")
	cmd.Flags().Lookup("wait").NoOptDefVal = waitDefault.String()
}

// spacedWait refuses --wait with its time after a space, where it is an argument.
func spacedWait(cmd *cobra.Command, args []string) error {
	if !cmd.Flags().Changed("wait") {
		return nil
	}
	for _, arg := range args {
		if _, err := units.ParseDuration(arg); err == nil {
			return usage.Errorf("%s: %q is not a scenario; write --wait=%[2]s, with an equals sign", cmd.Name(), arg)
		}
	}
	return nil
}
