package runtimes

import (
	"io"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator/load/native"
	"stackmeter/orchestrator/load/remote"
)

// PodCommands are what runs in a load Pod and in that of an agent, where package kubernetes
// starts it, over the standard streams.
func PodCommands(stdin io.Reader, stdout io.Writer) []*cobra.Command {
	var cores int
	send := &cobra.Command{
		Use: "load", Short: "Sends one batch that comes over the standard streams", Hidden: true, Args: usage.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := native.Cores()
			if err != nil || len(own) != cores {
				own = nil // they are shared with others, up to a limit
			}
			return remote.Serve(cmd.Context(), stdin, stdout, &native.Client{}, own, machine.Version())
		},
	}
	send.Flags().IntVar(&cores, "cores", 0, "how many the Pod has; the client is held to them if they are its own")
	dial := &cobra.Command{
		Use: "dial ADDRESS", Short: "Connects an address to the standard streams", Hidden: true, Args: usage.Arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return remote.Connect(cmd.Context(), args[0], stdin, stdout)
		},
	}
	meter := &cobra.Command{
		Use: "meter FOLDER", Short: "Meters containers whose control groups are in a folder", Hidden: true, Args: usage.Arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return machine.Meter(args[0], stdin, stdout) },
	}
	return []*cobra.Command{send, dial, meter}
}
