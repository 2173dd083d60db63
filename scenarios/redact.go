package scenarios

import (
	"maps"
	"slices"
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
