package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
	"stackmeter/stacks/export"
	"stackmeter/stacks/process"
	"stackmeter/stacks/servers"
)

type exportOptions struct {
	goalOptions
	topology string
	out      outputOptions
}

func (a *app) exportCommand() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export [RUN]",
		Short: "Write the topology that was chosen as what is deployed",
		Long: `export writes what recommend chooses as a compose file, a manifest for Kubernetes, a
configuration of gunicorn, or a Dockerfile: the command, environment, limits, proxy,
health check and devices of the stack that was measured. Its main memory is limited to
the measured peak and a quarter more. Values that may be secrets are not recorded: what
needs them names them.

With a proxy, compose writes its Dockerfile and configuration into a folder beside -o
FILE. Exit status 4: nothing fits.`,
		Example: `  stackmeter export -o compose.yaml
  stackmeter export --under gpu_peak=5GiB --load mt10 --format kubernetes --for 100/s -o app.yaml
  stackmeter export --topology gunicorn-w2-t4 --format gunicorn-conf -o gunicorn.conf.py`,
		Args: usage.Arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.export(cmd, o, strings.Join(args, ""))
		},
	}
	o.goalOptions.flags(cmd)
	cmd.Flags().StringVar(&o.topology, "topology", "", "another topology than the recommended one, by its `NAME`")
	o.out.flags(cmd, export.Formats())
	return cmd
}

func (a *app) export(cmd *cobra.Command, o exportOptions, id string) error {
	c, err := o.choose(cmd, id)
	if err != nil {
		return err
	}
	if o.topology == "" {
		if err := c.measuredWhole(); err != nil {
			return err
		}
	}
	d, err := verdict.Choose(c.records, c.loads, o.topology)
	switch {
	case errors.Is(err, verdict.ErrUndecided):
		return usage.Errorf("run %s: %w; choose a load with --load, or the topology with --topology", c.run.ID, err)
	case err != nil && !errors.Is(err, verdict.ErrNothingFits):
		return usage.Errorf("run %s: %w", c.run.ID, err)
	case err != nil:
		return fmt.Errorf("%w; stackmeter recommend says why, and --topology NAME exports one all the same", err)
	}
	deployed, err := deployment(c, d)
	if err != nil {
		return usage.Errorf("run %s: %w", c.run.ID, err)
	}
	made, err := export.Write(o.out.format, deployed)
	if err != nil {
		return usage.Error(err)
	}
	beside := map[string]string{}
	for _, file := range made[1:] {
		beside[file.Name] = file.Text
	}
	if len(beside) > 0 && o.out.file == "-" {
		return usage.Errorf("%s of topology %s takes %d files: name the first one with -o FILE, and the others go into a folder beside it", o.out.format, d.Topology.Name, len(made))
	}
	if len(beside) > 0 {
		if err := files.Beside(o.out.file, export.Mark, beside); err != nil {
			return err
		}
	}
	return files.Write(a.stdout, o.out.file, func(w io.Writer) error {
		_, err := io.WriteString(w, made[0].Text)
		return err
	})
}

// measuredWhole refuses the answer of a search that short loads alone speak for.
func (c choice) measuredWhole() error {
	for i, r := range c.loads {
		if c.found == nil || r.Best != nil || c.found.Answers[i].Topology == "" {
			continue
		}
		return usage.Errorf("run %s: the answer of the search for %s, %s, is by short loads alone: stackmeter search %s --resume goes on with it, and --topology exports it all the same",
			c.run.ID, c.found.Answers[i].Load, c.found.Answers[i].Topology, show.Shell(c.run.File))
	}
	return nil
}

// deployment is the stack of a decision, as it is made of the run's plan.
func deployment(c choice, d verdict.Deployed) (export.Deployment, error) {
	spec, err := servers.Expand(c.run.ID, c.run.Plan, d.Topology)
	if err != nil {
		return export.Deployment{}, err
	}
	e := export.Deployment{Spec: spec, Name: c.run.Scenario, Peaks: d.Peaks, Digests: d.Digests, GPUs: d.Devices}
	if c.run.Runtime != process.Name {
		e.Ran = d.Processes
	}
	for _, r := range d.For {
		e.Why = append(e.Why, report.Reasons(r)...)
		if copies := r.Copies(c.rate); copies > e.Copies {
			e.Copies = copies
		}
	}
	if c.found != nil && len(d.For) > 0 {
		for _, answer := range c.found.Answers {
			if answer.Topology != "" {
				e.Why = append(e.Why, fmt.Sprintf("At %s: %s.", answer.Load, answer.Why))
			}
		}
	}
	if len(d.For) == 0 {
		e.Why = append(e.Why, "It was asked for, whatever the run recommends.")
	}
	if c.rate > 0 && e.Copies > 0 {
		e.Why = append(e.Why, fmt.Sprintf("For %.4g requests per second it takes %d of this stack.", c.rate, e.Copies))
	}
	e.Why = append(e.Why, measuredBy(c.run))
	return e, nil
}

// measuredBy says where the figures come from.
func measuredBy(run results.Run) string {
	return fmt.Sprintf("Measured by run %s of scenario %s with the runtime %s on %s (%s, %d cores).", run.ID, run.Scenario, run.Runtime, run.Started.Format("2006-01-02"), run.Host.CPU, run.Host.Cores)
}
