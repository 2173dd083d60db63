// Stackmeter compares ways of serving a web application.
//
// A YAML scenario lists server topologies (bare Flask, gunicorn with N workers
// and N threads, nginx in front of it, any command) and a matrix of loads
// (requests × client mode × pool size). stackmeter starts each topology in
// containers around your own app, sends the loads, removes everything, and records
// the duration and the peak memory of each cell.
//
//	stackmeter run scenarios/quickstart.yaml     measure, then print the tables
//	stackmeter plan scenarios/quickstart.yaml    what would run, and nothing else
//	stackmeter report                            print the latest run again
//	stackmeter load http://127.0.0.1:8000/       send a load to a server that is there already
//	stackmeter doctor                            what this machine has and lacks
//
// Results go to standard output, progress and diagnostics to standard error.
//
// Exit status: 0 all cells ok; 1 infrastructure failed; 2 wrong usage or
// scenario; 3 some cells failed; 4 a threshold or comparison failed; 130
// interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/check"
	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// memoryLimit is the heap from which on garbage is collected more often, in bytes. It
// bounds what the report of a night of tens of thousands of cells takes; GOMEMLIMIT
// sets another.
const memoryLimit = 700 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	a := app{stdin: os.Stdin, stdout: os.Stdout, stderr: console.NewTeller(os.Stderr)}
	os.Exit(a.main(os.Args[1:]))
}

// Exit statuses, as orchestrator/README.md lists them.
const (
	exitOK             = 0
	exitInfrastructure = 1
	exitUsage          = 2
	exitCellsFailed    = 3
	exitThreshold      = 4
	exitInterrupted    = 130
)

var (
	errInterrupted     = errors.New("interrupted")
	errRunInterrupted  = fmt.Errorf("%w; finished cells are kept, and --resume continues", errInterrupted)
	errLoadInterrupted = fmt.Errorf("%w; the result shows what was measured until then", errInterrupted)
	errCellsFailed     = errors.New("failed") // behind how many
	errNoAnswer        = errors.New("the search found no topology within the budgets")
)

// An app is one invocation with its streams.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr *console.Teller
}

// main runs a command line and returns its exit status. It is the one place that
// maps errors to statuses.
func (a *app) main(args []string) int {
	defer a.stderr.Flush(console.FlushTimeout)
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	// An interrupted run prints its error too: it names what could not be removed.
	// The engine's words may be in it, and a build's.
	fmt.Fprintln(a.stderr, "stackmeter:", show.Clean(usage.WithoutPasswords(err.Error(), append(slices.Clone(args), os.Getenv(storeVariable)))))
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errCellsFailed), errors.Is(err, errNoAnswer), errors.Is(err, check.ErrFailed):
		return exitCellsFailed
	case errors.Is(err, verdict.ErrNothingFits), errors.Is(err, errVerdict):
		return exitThreshold
	case usage.Is(err), errors.Is(err, results.ErrNoRun), errors.Is(err, orchestrator.ErrImages):
		return exitUsage
	}
	return exitInfrastructure
}

// root is the command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stackmeter",
		Short: "Compare ways of serving a web application by duration and peak memory",
		Long: `stackmeter starts each server topology of a scenario in containers around your
own app, sends it requests, and removes it again. It records the duration and
the peak memory of every cell: one topology under one load.

Exit status: 0 all cells ok; 1 infrastructure failed; 2 wrong usage or scenario;
3 some cells failed; 4 a threshold or comparison failed; 130 interrupted.`,
		Example:       "  stackmeter run scenarios/quickstart.yaml",
		Version:       machine.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := usage.CheckGiven(cmd.Flags(), args); err != nil {
				return err
			}
			return files.Check(cmd.Flags(), args)
		},
		Args: cobra.ArbitraryArgs,
		RunE: usage.HelpOnly,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage.Errorf("%s: %w%s (%s --help lists the flags)", cmd.Name(), err, usage.MeantFlag(cmd.Flags(), err), cmd.CommandPath())
	})
	root.AddCommand(a.runCommand(), a.searchCommand(), a.planCommand(), a.checkCommand(), a.reportCommand(), a.compareCommand(), a.recommendCommand(), a.exportCommand(), a.tryCommand(), a.initCommand(),
		a.historyCommand(), a.importCommand(), a.runsCommand(), a.copyCommand(), a.backupCommand(), a.serveCommand(),
		a.loadCommand(), a.cleanCommand(), a.doctorCommand(), a.schemaCommand(), a.agentCommand(), a.loadWorkerCommand(), a.processLauncherCommand())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args, completion.RunE = cobra.ArbitraryArgs, usage.HelpOnly
		for _, shell := range completion.Commands() {
			shell.Args = usage.Arguments(cobra.NoArgs)
		}
	}
	root.SetHelpCommand(a.helpCommand(root))
	return root
}
