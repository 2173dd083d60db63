package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/container"
	"stackmeter/scenarios/show"
	"stackmeter/stacks/servers"
)

func (a *app) planCommand() *cobra.Command {
	var o scenarioOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan SCENARIO",
		Short: "Print what a run would do, and do nothing else",
		Example: `  stackmeter plan scenarios/quickstart.yaml
  stackmeter plan scenarios/reference/gunicorn-w1.yaml --set matrix.requests=[20] --only 'nginx*'`,
		Args: scenarioArgument(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			_, plan, err := loadPlan(args[0], o)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(plan.Redacted()) // it may go into a log
			}
			return a.printPlan(plan)
		},
	}
	scenarioFlags(cmd, &o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole plan as JSON")
	return cmd
}

// scenarioArgument is arguments for a command that takes a scenario.
func scenarioArgument(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{fmt.Errorf("%s: which scenario? name a file, as in: stackmeter %s scenarios/quickstart.yaml", cmd.Name(), cmd.Name())}
		}
		return arguments(check)(cmd, args)
	}
}

// scenarioOptions say how a scenario is read.
type scenarioOptions struct {
	set   []string
	only  string
	allow []string // folders that its paths may lead to
	cells int      // most of a plan
	env   []string // names of the operator's variables that the app gets
}

// loadPlan loads a scenario and makes its plan. Its errors are usage errors.
func loadPlan(file string, o scenarioOptions) (*scenarios.Scenario, scenarios.Plan, error) {
	if o.cells < 1 {
		return nil, scenarios.Plan{}, usageError{fmt.Errorf("--max-cells %d: it has to be 1 or more", o.cells)}
	}
	env := map[string]string{}
	for _, name := range o.env {
		value, there := os.LookupEnv(name)
		if !there {
			name, _, _ = strings.Cut(name, "=") // what follows may be a secret
			return nil, scenarios.Plan{}, usageError{fmt.Errorf("--env %s: the environment has no such variable; give its name alone, not NAME=VALUE", name)}
		}
		env[name] = value
	}
	loader := scenarios.Loader{MaxCells: o.cells, Allow: o.allow, Env: env, Figures: results.Vocabulary(), Servers: servers.Known()}
	s, err := loader.Load(file, o.set...)
	if err != nil {
		return nil, scenarios.Plan{}, usageError{err}
	}
	plan := s.Plan()
	if o.only != "" {
		if plan, err = plan.Only(o.only); err != nil {
			return nil, scenarios.Plan{}, usageError{err}
		}
	}
	return s, plan, nil
}

// scenarioFlags are those of every command that takes a scenario.
func scenarioFlags(cmd *cobra.Command, o *scenarioOptions) {
	cmd.Flags().StringArrayVar(&o.set, "set", nil, "override a value of the scenario, `KEY=VALUE` with the value in YAML; may be repeated")
	cmd.Flags().StringVar(&o.only, "only", "", "only the topologies, or with a slash in it the cells, that match this `GLOB`")
	cmd.Flags().StringArrayVar(&o.allow, "allow-path", nil, "let the scenario's payloads and build context be in this `DIR` too, not only in its own folder and checkout, and let it mount what is in there to be read; may be repeated")
	cmd.Flags().StringArrayVar(&o.env, "env", nil, "give the app, and headers that name it as ${NAME}, this variable of your own environment, by `NAME`; no store, report or log gets its value, if that has 6 bytes or more; may be repeated")
	cmd.Flags().IntVar(&o.cells, "max-cells", scenarios.DefaultMaxCells, "refuse a plan of more cells than this `N`")
}

// printAxes says what the values are that names do not say.
func printAxes(w io.Writer, p scenarios.Plan) {
	lines := map[string]bool{}
	for _, trial := range p.Trials {
		t := trial.Topology
		for axis, value := range t.Axes {
			if value != "true" && value != "false" && !strings.Contains(t.Name, value) {
				lines[fmt.Sprintf("axes: in %s, %s is %s\n", show.Line(t.Name), show.Line(axis), show.Quote(value))] = true
			}
		}
	}
	for _, line := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprint(w, line)
	}
}

func (a *app) printPlan(p scenarios.Plan) error {
	requests := 0
	for _, t := range p.Trials {
		for _, c := range t.Cells {
			requests += c.Load.Requests
		}
	}
	order, repeats, stacks := p.Order, "repeat", len(p.Trials)
	if p.Fresh == scenarios.FreshRun {
		repeats, stacks = "round", len(verdict.GroupBy(p.Trials, func(t scenarios.Trial) string { return fmt.Sprint(t.Topology.Name, p.Start(t.Repeat)) }))
	}
	if order == scenarios.OrderShuffle {
		order = fmt.Sprintf("shuffled within each %s by seed %d", repeats, p.Seed)
		if p.Prune {
			order += ", of the same server the smallest first"
		}
	}
	most := ""
	if p.Until != nil {
		most = "at most "
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s: %s%s, %s, %s and %d of warm-up for each worker; order: %s\n",
		p.Scenario, most, show.Plural(stacks, "stack"), show.Plural(p.Cells(), "cell"), show.Plural(requests, "request"), p.Warmup, order)
	allowed := "none"
	if limit := p.Request.MaxErrors; limit != nil {
		allowed = limit.String()
	}
	fmt.Fprintf(w, "answers: %s\n", show.Line(p.Request.Expected()))
	fmt.Fprintf(w, "errors: request.max_errors allows a cell %s; with more it fails\n", allowed)
	if p.Fresh == scenarios.FreshRun {
		fmt.Fprintf(w, "rounds: stacks that fit beside each other stay up for %s, and are measured one cell at a time; memory is that of the first\n",
			show.Plural(p.Repeats/p.Starts, "round"))
	}
	if p.Until != nil && p.Fresh == scenarios.FreshRun {
		fmt.Fprintf(w, "a cell has from %d to %d rounds, until the 95%% interval of its median duration is within %.3g%%\n",
			max(p.Until.Min, scenarios.IntervalRepeats), p.Repeats, 100*p.Until.Within)
	} else if p.Until != nil {
		fmt.Fprintf(w, "a stack is started again, from %d to %d times, until the 95%% interval of every median duration on it is within %.3g%%\n",
			max(p.Until.Min, scenarios.IntervalRepeats), p.Repeats, 100*p.Until.Within)
	}
	if p.Prune {
		fmt.Fprintln(w, "prune: where a topology runs out of memory, those that are the same with more workers or threads are not started at that load or a heavier one")
	}
	fmt.Fprintf(w, "ready: when %s, within %v (app.ready)\n", show.Line(p.App.Ready.String()), p.App.Ready.Timeout)
	printContainers(w, p)
	printAxes(w, p)
	repeat := 0
	for _, t := range p.Trials {
		if t.Repeat != repeat {
			repeat = t.Repeat
			start := ""
			if p.Starts > 1 && p.FirstPass(repeat) {
				start = fmt.Sprintf(", start %d", p.Start(repeat))
			}
			fmt.Fprintf(w, "\n%s %d%s\n", repeats, repeat, start)
		}
		var loads []string
		for _, c := range t.Cells {
			loads = append(loads, c.Load.Name())
		}
		fmt.Fprintf(w, "  %s\t%s\n", t.Topology.Name, strings.Join(loads, "  "))
	}
	return w.Flush()
}

// printContainers prints what the containers of each service are given beyond the
// usual, once for the app and then where another service differs.
func printContainers(w io.Writer, p scenarios.Plan) {
	said := map[string]bool{}
	line := func(of string, o container.Options) {
		if words := strings.Join(o.Words(), ", "); !said[of] && words != "" {
			said[of] = true
			fmt.Fprintf(w, "containers%s: %s\n", show.Line(of), show.Line(words))
		}
	}
	line("", p.App.Options)
	for _, trial := range p.Trials {
		t := trial.Topology
		if !t.Same(container.Options{}) {
			line(" of "+t.Name, t.Over(p.App.Options))
		}
		for _, s := range t.Services {
			if !s.Same(container.Options{}) {
				line(" of "+t.Name+", service "+s.Name, s.Over(t.Over(p.App.Options)))
			}
		}
	}
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files, for editors",
		Example: `  stackmeter schema > scenario.schema.json
  # then, as the first line of a scenario:
  # yaml-language-server: $schema=scenario.schema.json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(scenarios.Schema(results.Vocabulary(), servers.Known()))
			return err
		},
	}
}
