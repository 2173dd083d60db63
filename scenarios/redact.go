package scenarios

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Redacted stands for a value that is not written to a store or a report.
const Redacted = "(not written)"

// written are the environment variables whose values are: numbers and names
// that say how an app was set up, which never are secrets.
var written = []string{
	"MODEL", "TORCH_THREADS", "SEED", "WEB_CONCURRENCY",
	"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
	"CUDA_MODULE_LOADING", "PYTORCH_CUDA_ALLOC_CONF",
}

// Redacted is the plan without values that may be secrets: those of
// environment variables that are not on the list, of build arguments and of
// request headers. Their names stay. Its Fingerprint is another one.
func (p Plan) Redacted() Plan {
	p.App.Env = redacted(p.App.Env)
	if p.App.Build != nil {
		build := *p.App.Build
		build.Args = redacted(build.Args)
		p.App.Build = &build
	}
	p.Request.Headers = redacted(p.Request.Headers)
	p.Trials = slices.Clone(p.Trials)
	for i := range p.Trials {
		p.Trials[i].Topology = p.Trials[i].Topology.Redacted()
	}
	return p
}

// Redacted is the topology without values that may be secrets.
func (t Topology) Redacted() Topology {
	t.Env = redacted(t.Env)
	t.Services = slices.Clone(t.Services)
	for i := range t.Services {
		t.Services[i].Env = redacted(t.Services[i].Env)
	}
	return t
}

func redacted(values map[string]string) map[string]string {
	values = maps.Clone(values)
	for name := range values {
		if !slices.Contains(written, name) {
			values[name] = Redacted
		}
	}
	return values
}

// minSecret is from how many bytes on a value is taken out of other texts. A
// shorter one ("1", "true", "small") would be taken out of everything, and
// protects nothing.
const minSecret = 6

// Scrubber returns a function that takes the values out of a text which
// Redacted leaves out of the plan: an app that fails may print its whole
// environment, and its last words are kept.
func (p Plan) Scrubber() func(string) string {
	var values []string
	add := func(list map[string]string) {
		for name, value := range list {
			if len(value) >= minSecret && !slices.Contains(written, name) {
				values = append(values, value)
			}
		}
	}
	add(p.App.Env)
	if p.App.Build != nil {
		add(p.App.Build.Args)
	}
	add(p.Request.Headers)
	for _, trial := range p.Trials {
		add(trial.Topology.Env)
		for _, service := range trial.Topology.Services {
			add(service.Env)
		}
	}
	// A secret that begins with another one is taken out whole.
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, value := range slices.Compact(values) {
		pairs = append(pairs, value, Redacted)
	}
	return strings.NewReplacer(pairs...).Replace
}
