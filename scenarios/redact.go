package scenarios

import (
	"maps"
	"slices"
	"strings"

	"stackmeter/scenarios/message"
	"stackmeter/scenarios/show"
)

// written are the environment variables whose values are written: numbers and
// names that say how an app was set up, never secrets.
var written = []string{
	"MODEL", "TORCH_THREADS", "SEED", "WEB_CONCURRENCY",
	"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
	"CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF",
}

// Redacted is the plan without values that may be secrets: those of environment
// variables that are not on the list, of build arguments and of request headers, but
// for those that only name a variable. Their names stay. Its Fingerprint differs from
// the plan's.
func (p Plan) Redacted() Plan {
	p.App.Env = redacted(p.App.Env)
	if p.App.Build != nil {
		build := *p.App.Build
		build.Args = redacted(build.Args)
		p.App.Build = &build
	}
	p.Request.Headers, p.App.Ready.Headers = message.Redacted(p.Request.Headers), message.Redacted(p.App.Ready.Headers)
	p.Trials = slices.Clone(p.Trials)
	for i := range p.Trials {
		p.Trials[i].Topology = p.Trials[i].Topology.Redacted()
	}
	return p
}

// Redacted is the topology without values that may be secrets.
func (t Topology) Redacted() Topology {
	t.Env = redacted(t.Env, t.axisVariables()...)
	t.Services = slices.Clone(t.Services)
	for i := range t.Services {
		t.Services[i].Env = redacted(t.Services[i].Env)
	}
	return t
}

// axisVariables are the environment variables that are axes: their values are in
// names.
func (t Topology) axisVariables() []string {
	var names []string
	for axis := range t.Axes {
		if name, is := strings.CutPrefix(axis, "env."); is {
			names = append(names, name)
		}
	}
	return names
}

func redacted(values map[string]string, known ...string) map[string]string {
	values = maps.Clone(values)
	for name := range values {
		if !slices.Contains(written, name) && !slices.Contains(known, name) {
			values[name] = show.Redacted
		}
	}
	return values
}

// Scrubber returns a function that removes from a text the values that Redacted
// leaves out of the plan: an app that fails may print its whole environment, and
// its last words are kept. The names in the plan stay, see show.Scrubber. more are
// other values that no text may have.
func (p Plan) Scrubber(more ...string) func(string) string {
	values := slices.Clone(more)
	names := []string{p.Scenario}
	add := func(list map[string]string, known ...string) {
		for name, value := range list {
			if !slices.Contains(written, name) && !slices.Contains(known, name) {
				values = append(values, value)
			}
		}
	}
	add(p.App.Env)
	if p.App.Build != nil {
		add(p.App.Build.Args)
	}
	values = append(values, message.Secrets(p.Request.Headers, p.App.Env)...)
	values = append(values, message.Secrets(p.App.Ready.Headers, p.App.Env)...)
	for _, trial := range p.Trials {
		add(trial.Topology.Env, trial.Topology.axisVariables()...)
		names = append(names, trial.Topology.Name)
		for _, service := range trial.Topology.Services {
			add(service.Env)
			names = append(names, service.Name)
		}
	}
	return show.Scrubber(values, names)
}
