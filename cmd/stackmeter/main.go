// Stackmeter compares ways of serving a WSGI application.
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
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

func main() {
	a := app{stdin: os.Stdin, stdout: os.Stdout, stderr: newTeller(os.Stderr)}
	os.Exit(a.main(os.Args[1:]))
}

// Exit statuses, as DESIGN and the README list them.
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
	errRunInterrupted  = fmt.Errorf("%w; finished cells are kept, and stackmeter run --resume continues", errInterrupted)
	errLoadInterrupted = fmt.Errorf("%w; the result shows what was measured until then", errInterrupted)
	errCellsFailed     = errors.New("failed") // behind how many
)

// A usageError is a wrong flag, argument or scenario.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// An app is one invocation with its streams.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr *teller
}

// main runs a command line and returns its exit status. It is the one place that
// maps errors to statuses.
func (a *app) main(args []string) int {
	defer a.stderr.flush(flushTimeout)
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	// An interrupted run prints its error too: it names what could not be removed.
	// The engine's words may be in it, and a build's.
	fmt.Fprintln(a.stderr, "stackmeter:", show.Clean(withoutPasswords(err.Error(), args)))
	var usage usageError
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, errCellsFailed):
		return exitCellsFailed
	case errors.Is(err, errNothingFits), errors.Is(err, errVerdict):
		return exitThreshold
	case errors.As(err, &usage), errors.Is(err, results.ErrNoRun), errors.Is(err, orchestrator.ErrImages):
		return exitUsage
	}
	return exitInfrastructure
}

// withoutPasswords hides in a message who is named in a URL of the command line: a
// message that quotes the URL ends up in logs.
func withoutPasswords(message string, args []string) string {
	for _, arg := range args {
		for _, secret := range show.Credentials(arg) {
			message = strings.ReplaceAll(message, secret+"@", show.Missing+"@")
		}
	}
	return message
}

// root is the command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stackmeter",
		Short: "Compare ways of serving a WSGI application by duration and peak memory",
		Long: `stackmeter starts each server topology of a scenario in containers around your
own app, sends it requests, and removes it again. It records the duration and
the peak memory of every cell: one topology under one load.

Exit status: 0 all cells ok; 1 infrastructure failed; 2 wrong usage or scenario;
3 some cells failed; 4 a threshold or comparison failed; 130 interrupted.`,
		Example:       "  stackmeter run scenarios/quickstart.yaml",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			if err := checkGiven(cmd.Flags(), args); err != nil {
				return err
			}
			return checkFiles(cmd.Flags(), args)
		},
		Args: cobra.ArbitraryArgs,
		RunE: helpOnly,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%s: %w (%s --help lists the flags)", cmd.Name(), err, cmd.CommandPath())}
	})
	root.AddCommand(a.runCommand(), a.planCommand(), a.reportCommand(), a.compareCommand(), a.recommendCommand(),
		a.historyCommand(), a.importCommand(), a.runsCommand(), a.backupCommand(), a.serveCommand(),
		a.loadCommand(), a.cleanCommand(), a.doctorCommand(), a.schemaCommand(), a.loadWorkerCommand(), a.processLauncherCommand())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args, completion.RunE = cobra.ArbitraryArgs, helpOnly
		for _, shell := range completion.Commands() {
			shell.Args = arguments(cobra.NoArgs)
		}
	}
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			return errors.Join(err, helpOnly(cmd, rest))
		},
	})
	return root
}

// helpOnly is what a command does that only has other commands: it prints its help,
// and refuses what is none of them.
func helpOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return usageError{fmt.Errorf("there is no command %q%s (%s --help lists them)", args[0], hint, cmd.CommandPath())}
}

// checkGiven refuses flags and arguments that are there without a value, as a variable
// of a script leaves them that is not set: they would count as not given.
func checkGiven(flags *pflag.FlagSet, args []string) error {
	empty := func(what string) error {
		return usageError{fmt.Errorf("%s is empty; leave it out, or look whether a variable in it is set", what)}
	}
	if i := slices.Index(args, ""); i >= 0 {
		return empty(fmt.Sprintf("argument %d", i+1))
	}
	var err error
	flags.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, is := f.Value.(pflag.SliceValue); is {
			values = list.GetSlice()
		}
		// A flag that is a function has checked its value, and does not say it.
		if f.Value.Type() != "func" && (len(values) == 0 || slices.Contains(values, "")) {
			err = empty("--" + f.Name)
		}
	})
	return err
}

// arguments turns cobra's complaint about arguments into a usage error.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%s: %w (see %s --help)", cmd.Name(), err, cmd.CommandPath())}
		}
		return nil
	}
}

// unknown is the error of a flag that takes one of several words.
func unknown(flag, value string, words []string) error {
	return usageError{fmt.Errorf("--%s %s: choose one of %s", flag, value, strings.Join(words, ", "))}
}

// nameFlag adds a flag for the name of a run.
func nameFlag(cmd *cobra.Command, into *string, name, usage string) {
	cmd.Flags().Func(name, usage, func(text string) error {
		*into = text
		return results.CheckName(text)
	})
}

// timeFlag adds a flag for a time, which is written as in a scenario. Only 0 needs
// no unit.
func timeFlag(cmd *cobra.Command, into *time.Duration, name string, value time.Duration, usage string) {
	*into = value
	cmd.Flags().Func(name, usage, func(text string) (err error) {
		if *into = 0; text != "0" {
			*into, err = units.ParseDuration(text)
		}
		return err
	})
}
