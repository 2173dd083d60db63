package usage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stackmeter/results"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// CheckGiven refuses flags and arguments that are there without a value, as a variable
// of a script leaves them that is not set: they would count as not given.
func CheckGiven(flags *pflag.FlagSet, args []string) error {
	empty := func(what string) error {
		return Errorf("%s is empty; leave it out, or look whether a variable in it is set", what)
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

// MeantFlag is the flag that was probably meant by one that there is not, as a hint
// behind the error about it; "" where none is near, or the error is another one.
func MeantFlag(flags *pflag.FlagSet, err error) string {
	name, unknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !unknown {
		return ""
	}
	var known []string
	flags.VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if near := show.Nearest(name, known); near != "" {
		return "; did you mean --" + near + "?"
	}
	return ""
}

// Arguments turns cobra's complaint about arguments into a usage error.
func Arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return Errorf("%s: %w (see %s --help)", cmd.Name(), err, cmd.CommandPath())
		}
		return nil
	}
}

// NameFlag adds a flag for the name of a run.
func NameFlag(cmd *cobra.Command, into *string, name, usage string) {
	cmd.Flags().Func(name, usage, func(text string) error {
		*into = text
		return results.CheckName(text)
	})
}

// TimeFlag adds a flag for a time, which is written as in a scenario. Only 0 needs
// no unit.
func TimeFlag(cmd *cobra.Command, into *time.Duration, name string, value time.Duration, usage string) {
	*into = value
	cmd.Flags().Func(name, usage, func(text string) (err error) {
		if *into = 0; text != "0" {
			*into, err = units.ParseDuration(text)
		}
		return err
	})
}

// HelpOnly is what a command does that only has other commands: it prints its help,
// and refuses what is none of them.
func HelpOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return Errorf("there is no command %q%s (%s --help lists them)", args[0], hint, cmd.CommandPath())
}

// Scenario is Arguments for a command that takes a scenario.
func Scenario(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return Errorf("%s: which scenario? name a file, as in: stackmeter %s scenarios/quickstart.yaml", cmd.Name(), cmd.Name())
		}
		return Arguments(check)(cmd, args)
	}
}
