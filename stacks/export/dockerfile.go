package export

import (
	"encoding/json"
	"fmt"
	"strings"

	"stackmeter/stacks"
)

// dockerfile writes the Dockerfile of the service that serves the app, on top of its
// image. https://docs.docker.com/reference/dockerfile/
func dockerfile(d Deployment) ([]File, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	s := d.Spec.Services[0]
	if s.Image == "" && s.Build == nil {
		return nil, errNoImage
	}
	at := s.InContainer(d.Spec.ByName())
	var b strings.Builder
	if others := len(d.Spec.Services) - 1; others > 0 {
		fmt.Fprintf(&b, "# This is one of the %d services that were measured: stackmeter export --format compose\n# writes all of them.\n", others+1)
	}
	image, note := d.image(s)
	if s.Build != nil {
		fmt.Fprintf(&b, "# Its image is built first: docker build -t %s %s\n", image, s.Build.Context)
	}
	if note != "" {
		fmt.Fprintf(&b, "# %s\n", note)
	}
	fmt.Fprintf(&b, "FROM %s\n", image)
	var secret []string
	for _, v := range environment(s) {
		if v.secret {
			secret = append(secret, v.name)
			continue
		}
		fmt.Fprintf(&b, "ENV %s=%s\n", v.name, dockerText(v.value))
	}
	if len(secret) > 0 {
		fmt.Fprintf(&b, "# Give it when it starts, it is not recorded: docker run --env %s\n", strings.Join(secret, " --env "))
	}
	d.dockerRuns(&b, s, at)
	return []File{{Text: b.String()}}, nil
}

// dockerRuns is how the image is run.
func (d Deployment) dockerRuns(b *strings.Builder, s stacks.Service, at stacks.Site) {
	o := s.Container
	if o.Workdir != "" {
		fmt.Fprintf(b, "WORKDIR %s\n", dockerText(o.Workdir))
	}
	if o.User != "" {
		fmt.Fprintf(b, "USER %s\n", o.User)
	}
	if !s.Unix {
		fmt.Fprintf(b, "EXPOSE %d\n", s.Port)
	}
	switch asked := d.health(s, at); {
	case len(asked.argv) > 0:
		if asked.note != "" {
			fmt.Fprintf(b, "# %s\n", asked.note)
		}
		fmt.Fprintf(b, "HEALTHCHECK --interval=10s --timeout=%ds --retries=3 --start-period=%ds CMD %s\n",
			2*probeSeconds, int(d.Spec.Ready.Timeout.Seconds()), jsonList(asked.argv))
	case asked.note != "":
		fmt.Fprintf(b, "# %s\n", asked.note)
	}
	if len(s.Command) > 0 {
		entry := o.Entrypoint
		if entry == nil {
			entry = []string{}
		}
		fmt.Fprintf(b, "ENTRYPOINT %s\nCMD %s\n", jsonList(entry), jsonList(s.Argv(at)))
	}
	run := "docker run --init --cap-drop ALL --security-opt no-new-privileges"
	if mib, how := d.memory(s); mib > 0 {
		fmt.Fprintf(b, "# Memory: %s.\n", how)
		run += fmt.Sprintf(" --memory %dm --memory-swap %dm", mib, mib)
	}
	if s.CPUs > 0 {
		run += fmt.Sprintf(" --cpus %v", s.CPUs)
	}
	if gpus := d.gpus(s); gpus > 0 {
		run += fmt.Sprintf(" --gpus %d", gpus)
	}
	fmt.Fprintf(b, "# It was measured as with: %s\n", run)
}

// dockerText is a text as a value of ENV, in which nothing is replaced.
func dockerText(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`).Replace(text) + `"`
}

func jsonList(all []string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(all) // of texts
	return strings.TrimSpace(b.String())
}
