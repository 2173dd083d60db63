package scenarios

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/yamlfile"
)

// environment reads the environment variables of a service. A scenario may not
// set some of them.
func (d *decoder) environment(n *yaml.Node, what string, into *map[string]string) {
	d.Dictionary(n, what, into, validEnv, envRule)
	for key := range yamlfile.Pairs(n) {
		if d.Given(key) {
			continue
		}
		switch {
		case loaders(key.Value):
			d.Problem(key, "put it into the image, or give it on the command line: --set app.env."+key.Value+"=…",
				"%s cannot set %s: it makes the dynamic linker load code that is not the app's", what, show.Quote(key.Value))
		case slices.Contains([]string{"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}, key.Value):
			d.Problem(key, "resources.gpu says how many, or which",
				"%s cannot set %s: the scenario's resources decide which GPUs a stack has", what, show.Quote(key.Value))
		}
	}
}

// loaders reports whether the dynamic linker of Linux or macOS obeys a variable.
// With LD_PRELOAD, LD_AUDIT or LD_LIBRARY_PATH (ld.so(8)) any program of a
// service, stackmeter's own nginx included, would run a stranger's code first.
// PYTHONPATH and the like only lead to the app, which a scenario may choose.
func loaders(name string) bool {
	return strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "DYLD_") ||
		name == "GLIBC_TUNABLES" || name == "GCONV_PATH"
}
