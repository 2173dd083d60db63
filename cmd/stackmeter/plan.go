package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/outline"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks/servers"
)

func (a *app) planCommand() *cobra.Command {
	var o scenarioOptions
	var asJSON bool
	var db string
	cmd := &cobra.Command{
		Use:   "plan SCENARIO",
		Short: "Print what a run would do, and do nothing else",
		Example: `  stackmeter plan scenarios/quickstart.yaml
  stackmeter plan scenarios/reference/gunicorn-w1.yaml --set matrix.requests=[20] --only 'nginx*'`,
		Args: usage.Scenario(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, plan, err := a.loadPlan(args[0], o)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(plan.Redacted()) // it may go into a log
			}
			store, err := openStore(cmd.Context(), db)
			if err != nil && cmd.Flags().Changed("db") {
				return err
			}
			if err != nil { // there may be none yet, and a plan needs none
				return outline.Write(a.stdout, plan, outline.Time(nil, plan))
			}
			defer store.Close()
			return outline.Write(a.stdout, plan, outline.Time(outline.Past(cmd.Context(), store, plan), plan))
		},
	}
	storeFlag(cmd, &db)
	scenarioFlags(cmd, &o)
	lanesFlag(cmd, &o)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the whole plan as JSON")
	return cmd
}

// scenarioOptions say how a scenario is read.
type scenarioOptions struct {
	set   []string
	only  string
	allow []string // folders that its paths may lead to
	cells int      // most of a plan
	env   []string // names of the operator's variables that the app gets

	lanes  string              // empty: as the scenario says
	search []scenarios.Setting // what flags say is searched for; nil: the scenario says whether anything is
}

// loadPlan loads a scenario and makes its plan. Its errors are usage errors; what is
// allowed and probably not meant goes to standard error.
func (a *app) loadPlan(file string, o scenarioOptions) (*scenarios.Scenario, scenarios.Plan, error) {
	if o.cells < 1 {
		return nil, scenarios.Plan{}, usage.Errorf("--max-cells %d: it has to be 1 or more", o.cells)
	}
	env := map[string]string{}
	for _, name := range o.env {
		value, there := os.LookupEnv(name)
		if !there {
			name, _, _ = strings.Cut(name, "=") // what follows may be a secret
			return nil, scenarios.Plan{}, usage.Errorf("--env %s: the environment has no such variable; give its name alone, not NAME=VALUE", name)
		}
		env[name] = value
	}
	loader := scenarios.Loader{MaxCells: o.cells, Allow: o.allow, Env: env, Figures: results.Vocabulary(), Servers: servers.Known(), Search: o.search}
	if o.lanes != "" {
		loader.Flags = []scenarios.Setting{{From: "--lanes", Path: "lanes", Value: o.lanes}}
	}
	s, err := loader.Load(file, o.set...)
	if err != nil {
		return nil, scenarios.Plan{}, usage.Error(err)
	}
	for _, warning := range s.Warnings {
		fmt.Fprintln(a.stderr, "stackmeter: warning:", show.Clean(warning))
	}
	plan := s.Plan()
	if o.only != "" {
		if plan, err = plan.Only(o.only); err != nil {
			return nil, scenarios.Plan{}, usage.Error(err)
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

// lanesFlag is of the commands that may measure on several devices side by side, which a
// search does not.
func lanesFlag(cmd *cobra.Command, o *scenarioOptions) {
	cmd.Flags().StringVar(&o.lanes, "lanes", "", "measure on `N` devices side by side, or on as many as there are with auto (default as the scenario says, which is 1)")
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files, for editors",
		Example: `  stackmeter schema > scenario.schema.json
  # then, as the first line of a scenario:
  # yaml-language-server: $schema=scenario.schema.json`,
		Args: usage.Arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(scenarios.Schema(results.Vocabulary(), servers.Known()))
			return err
		},
	}
}
