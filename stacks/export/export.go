// Package export writes the stack of a topology as what is deployed: a compose file, a
// manifest for Kubernetes, a configuration of gunicorn, a Dockerfile.
//
// Commands and configurations are those of the stack's spec, which package
// stacks/servers makes: what is written is what was measured, and nothing is said twice.
package export

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/images"
)

// A Deployment is a stack that was measured, and what was found out about it.
type Deployment struct {
	Spec    stacks.Spec       // its environment without values that may be secrets
	Name    string            // the scenario's
	Why     []string          // lines that say why this one, and where it was measured
	Peaks   map[string]int64  // bytes of main memory, the highest of each service; none: not measured
	Digests map[string]string // of the images, by service
	GPUs    int               // how many the stack had when it was measured
	Copies  int               // of the stack; 0: one

	// Ran are the command lines that were read back in each service. Where none is the
	// spec's, it is said that this could not be compared. Nil: they were local processes.
	Ran map[string][]string
}

// A File is one of those that make a deployment.
type File struct {
	Name string // relative to the first one's folder; empty of the first one
	Text string
}

// Mark begins the first line of each file, so that it is known whose it is.
const Mark = "# Written by stackmeter export"

// formats are the ways of writing a Deployment, the usual one first.
var formats = []struct {
	name  string
	write func(Deployment) ([]File, error)
}{{"compose", compose}, {"kubernetes", kubernetes}, {"gunicorn-conf", gunicornConf}, {"dockerfile", dockerfile}}

// Formats are the names of the formats, the usual one first.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// Write returns the files that a format makes of a deployment, the one that was asked
// for first. The error says what the format lacks for it.
func Write(format string, d Deployment) ([]File, error) {
	for _, f := range formats {
		if f.name != format {
			continue
		}
		files, err := f.write(d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", format, err)
		}
		files[0].Text = d.head(format) + files[0].Text
		return files, nil
	}
	return nil, fmt.Errorf("there is no format %s", show.Quote(format))
}

// head is the comment at the beginning of a file.
func (d Deployment) head(format string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s --format %s: %s.\n", Mark, format, show.Line(d.Spec.Topology.Name))
	for _, line := range d.Why {
		fmt.Fprintln(&b, "#", show.Line(line))
	}
	for _, s := range d.Spec.Services {
		if !d.ran(s) {
			fmt.Fprintf(&b, "# In doubt: no process that ran as service %s shows the command that stands here, so it is\n# as stackmeter writes it today. Compare it with stackmeter report --format json.\n", s.Name)
		}
	}
	return b.String()
}

// ran reports whether the service's command is one that ran. What a container's command
// begins with may be an interpreter, and its paths and ports are those of then.
func (d Deployment) ran(s stacks.Service) bool {
	argv := s.Argv(s.InContainer(d.Spec.ByName()))
	if d.Ran == nil || len(argv) < 2 || s.Proxy != nil { // a proxy tells by its configuration, and renames itself
		return true
	}
	return slices.ContainsFunc(d.Ran[s.Name], func(line string) bool {
		return strings.HasSuffix(line, strings.Join(argv[1:], " "))
	})
}

// The memory limit of a service that was measured without one.
const (
	margin      = 1.25
	leastMemory = 64 << 20
	mebibyte    = 1 << 20
)

// memory is the limit of a service in MiB, 0 for none, and how it came about.
func (d Deployment) memory(s stacks.Service) (mib int64, how string) {
	peak := d.Peaks[s.Name]
	measured := fmt.Sprintf("its measured peak was %d MiB", (peak+mebibyte-1)/mebibyte)
	switch {
	case s.Memory > 0 && peak > 0:
		return s.Memory / mebibyte, "as measured; " + measured
	case s.Memory > 0:
		return s.Memory / mebibyte, "as measured"
	case peak == 0:
		return 0, "no memory limit: its peak was not measured"
	}
	least := max(leastMemory, int64(float64(peak)*margin))
	return (least + mebibyte - 1) / mebibyte, measured + fmt.Sprintf(", and a quarter is added to it (at least %d MiB)", leastMemory/mebibyte)
}

// gpus is how many a service is given.
func (d Deployment) gpus(s stacks.Service) int {
	if !s.GPU {
		return 0
	}
	return d.GPUs
}

// A variable is one of a service's environment.
type variable struct {
	name, value string
	secret      bool // its value is not recorded
}

// environment is that of a service, sorted by name.
func environment(s stacks.Service) []variable {
	var all []variable
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		all = append(all, variable{name, s.Env[name], s.Env[name] == show.Redacted})
	}
	return all
}

// image is what a service's image is called, and the comment that goes with it.
func (d Deployment) image(s stacks.Service) (ref, note string) {
	if digest := d.Digests[s.Name]; digest != "" {
		note = "measured with " + digest
	}
	switch {
	case s.Image != "":
		return s.Image, note
	case s.Proxy != nil:
		return d.name() + "-" + s.Proxy.Software, note
	}
	return d.name(), note
}

// name is the scenario's as images and objects can have it.
func (d Deployment) name() string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(d.Name))
	return cmp.Or(strings.Trim(name, "-"), "app")
}

// proxyDockerfile is what the image of a proxy is made from. What follows is added to it.
func proxyDockerfile(s stacks.Service, more string) (string, error) {
	text, err := fs.ReadFile(images.Proxy(s.Proxy.Software), "Dockerfile")
	return string(text) + more, err
}

// errMPS refuses what a file cannot say: the daemon is the machine's.
var errMPS = errors.New("the topology shares its GPU by NVIDIA's MPS, whose daemon belongs to the machine: its folders cannot be written into a file for another one")

// errGiven refuses a stack of which nothing is known but its URL.
var errGiven = errors.New("the server was there already: what it is made of is not known")

func (d Deployment) check() error {
	switch {
	case len(d.Spec.Services) == 0:
		return errGiven
	case d.GPUs > 0 && d.Spec.GPU.MPS != nil:
		return errMPS
	}
	return nil
}
