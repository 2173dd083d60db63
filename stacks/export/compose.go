package export

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/scenarios/container"
	"stackmeter/scenarios/units"
	"stackmeter/stacks"
)

// compose writes a compose file, and beside it a folder for each proxy with the
// Dockerfile and the configuration of its image. It uses nothing that Compose 1.27 does
// not know: https://github.com/compose-spec/compose-spec/blob/main/spec.md
func compose(d Deployment) ([]File, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	files := []File{{}}
	var services block
	for i, s := range d.Spec.Services {
		one, err := d.composeService(i, s)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", s.Name, err)
		}
		services.add(s.Name, one, "")
		if s.Proxy == nil {
			continue
		}
		config := "stackmeter.conf"
		text, err := proxyDockerfile(s, fmt.Sprintf("COPY %s %s\n", config, s.InContainer(nil).Config))
		if err != nil {
			return nil, err
		}
		mark := Mark + ": of the proxy in front of " + d.Spec.Topology.Name + ".\n"
		files = append(files, File{s.Proxy.Software + "/Dockerfile", mark + text},
			File{s.Proxy.Software + "/" + config, mark + s.Proxy.Text(s.InContainer(d.Spec.ByName()))})
	}
	var file block
	file.add("services", &services, "")
	if slices.ContainsFunc(d.Spec.Services, func(s stacks.Service) bool { return s.Unix }) {
		var volumes, sockets, options block
		options.add("type", "tmpfs", "")
		options.add("device", "tmpfs", "")
		options.add("o", stacks.SocketOptions, "")
		sockets.add("driver", "local", "")
		sockets.add("driver_opts", &options, "")
		volumes.add("sockets", &sockets, "")
		file.add("volumes", &volumes, "The folder in which the server and its proxy meet.")
	}
	files[0].Text = document(&file)
	return files, nil
}

func (d Deployment) composeService(i int, s stacks.Service) (*block, error) {
	var b block
	at := s.InContainer(d.Spec.ByName())
	image, note := d.image(s)
	switch {
	case s.Build != nil:
		b.add("build", composeBuild(*s.Build), note)
	case s.Proxy != nil:
		b.add("build", "./"+s.Proxy.Software, note)
	case s.Image != "":
		b.add("image", literal(image), note)
	default:
		return nil, errNoImage
	}
	argv := s.Argv(at)
	switch entry := s.Container.Entrypoint; {
	case len(entry) > 0:
		b.add("entrypoint", literals(entry), "")
	case len(argv) > 0: // the image's own would stand in front of it
		b.add("entrypoint", literals(argv[:1]), "")
		argv = argv[1:]
	}
	if len(argv) > 0 {
		b.add("command", literals(argv), "")
	}
	if env := composeEnvironment(s); len(env.node.Content) > 0 {
		b.add("environment", env, "")
	}
	d.composeWaits(&b, i, s)
	if i == len(d.Spec.Services)-1 {
		port := strconv.Itoa(s.Port)
		b.add("ports", []string{"${PORT:-" + port + "}:" + port}, "")
	}
	d.composeHealth(&b, s, at)
	b.add("restart", "unless-stopped", "")
	d.composeLimits(&b, s)
	composeContainer(&b, s.Container)
	if mounts := d.composeMounts(s); len(mounts) > 0 {
		b.add("volumes", mounts, "")
	}
	return &b, nil
}

var errNoImage = fmt.Errorf("it has neither an image nor a build: what runs as a process of a machine is not deployed as a container")

// composeBuild is the context of an image that the scenario builds.
func composeBuild(from scenarios.Build) *block {
	var b, args block
	b.add("context", literal(from.Context), "")
	if from.Dockerfile != "" {
		b.add("dockerfile", literal(from.Dockerfile), "")
	}
	if from.Target != "" {
		b.add("target", literal(from.Target), "")
	}
	for _, v := range environment(stacks.Service{Env: from.Args}) {
		args.add(v.name, composeValue(v), "")
	}
	if len(from.Args) > 0 {
		b.add("args", &args, "")
	}
	if names := slices.Sorted(maps.Keys(from.Secrets)); len(names) > 0 {
		b.node.HeadComment = "# The build takes secrets (" + strings.Join(names, ", ") + "): build it with docker build --secret."
	}
	return &b
}

func composeEnvironment(s stacks.Service) *block {
	var b block
	for _, v := range environment(s) {
		b.add(v.name, composeValue(v), "")
	}
	return &b
}

// composeValue is the value of a variable. Compose takes those that are not recorded
// from its own environment, and fails without them.
func composeValue(v variable) string {
	if v.secret {
		return "${" + v.name + ":?its value is not recorded}"
	}
	return literal(v.value)
}

// literal is a text in which Compose replaces nothing.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }

func literals(all []string) []string {
	list := make([]string, len(all))
	for i, text := range all {
		list[i] = literal(text)
	}
	return list
}

// composeWaits says what a service starts after: a proxy looks its upstreams' names up
// when it starts, and services of the scenario's own start one after the other.
func (d Deployment) composeWaits(b *block, i int, s stacks.Service) {
	var after []string
	if s.Proxy != nil {
		after = s.Proxy.Upstreams
	} else if i > 0 && s.Role == stacks.RoleOther {
		after = []string{d.Spec.Services[i-1].Name}
	}
	if len(after) == 0 {
		return
	}
	var waits block
	for _, name := range after {
		state := "service_started"
		if up, err := d.Spec.Index(name); err == nil {
			one := d.Spec.Services[up]
			if len(d.health(one, one.InContainer(d.Spec.ByName())).argv) > 0 {
				state = "service_healthy"
			}
		}
		var on block
		on.add("condition", state, "")
		waits.add(name, &on, "")
	}
	b.add("depends_on", &waits, "")
}

func (d Deployment) composeHealth(b *block, s stacks.Service, at stacks.Site) {
	asked := d.health(s, at)
	if len(asked.argv) == 0 {
		if asked.note != "" {
			b.node.HeadComment = "# " + asked.note
		}
		return
	}
	var health block
	health.add("test", append([]string{"CMD"}, literals(asked.argv)...), asked.note)
	health.add("interval", "10s", "")
	health.add("timeout", fmt.Sprintf("%ds", 2*probeSeconds), "")
	health.add("retries", 3, "")
	health.add("start_period", fmt.Sprintf("%ds", int(d.Spec.Ready.Timeout.Seconds())), "")
	b.add("healthcheck", &health, "")
}

// composeLimits are the limits of a service, and its devices.
func (d Deployment) composeLimits(b *block, s stacks.Service) {
	if s.CPUs > 0 {
		b.add("cpus", s.CPUs, "")
	}
	if len(s.Cores) > 0 {
		b.add("cpuset", units.FormatCpuset(s.Cores), "")
	}
	mib, how := d.memory(s)
	if mib > 0 {
		b.add("mem_limit", fmt.Sprintf("%dm", mib), how)
		b.add("memswap_limit", fmt.Sprintf("%dm", mib), "no swap on top of it")
	} else {
		b.node.FootComment = "# " + how
	}
	gpus := d.gpus(s)
	if gpus == 0 {
		return
	}
	var device, reservations, resources, deploy block
	device.add("driver", "nvidia", "")
	if ids := d.Spec.GPU.Devices; len(ids) > 0 {
		device.add("device_ids", ids, "")
	} else {
		device.add("count", gpus, "as measured")
	}
	device.add("capabilities", []string{"gpu"}, "")
	reservations.add("devices", []*block{&device}, "")
	resources.add("reservations", &reservations, "")
	deploy.add("resources", &resources, "")
	b.add("deploy", &deploy, "")
}

// composeContainer is what a service's container is told, as it was when it was measured.
func composeContainer(b *block, o container.Options) {
	b.add("init", o.Init == nil || *o.Init, "")
	if o.User != "" {
		b.add("user", literal(o.User), "")
	}
	if o.Workdir != "" {
		b.add("working_dir", literal(o.Workdir), "")
	}
	b.add("cap_drop", []string{"ALL"}, "")
	if len(o.Capabilities) > 0 {
		b.add("cap_add", o.Capabilities, "")
	}
	b.add("security_opt", []string{"no-new-privileges"}, "")
	b.add("pids_limit", cmp.Or(o.PIDs, stacks.PIDsLimit), "")
	var limits block
	if _, said := o.Ulimits["fsize"]; !said {
		limits.add("fsize", int64(stacks.FileLimit), "")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Ulimits)) {
		var one block
		one.add("soft", o.Ulimits[name].Soft, "")
		one.add("hard", o.Ulimits[name].Hard, "")
		limits.add(name, &one, "")
	}
	b.add("ulimits", &limits, "")
	if o.ShmSize > 0 {
		b.add("shm_size", fmt.Sprintf("%db", o.ShmSize), "")
	}
	if o.ReadOnly != nil && *o.ReadOnly {
		b.add("read_only", true, "")
	}
}

// composeMounts are the file systems of a service beside its image.
func (d Deployment) composeMounts(s stacks.Service) []*block {
	var all []*block
	add := func(kind, source, target string) *block {
		var one block
		one.add("type", kind, "")
		if source != "" {
			one.add("source", literal(source), "")
		}
		one.add("target", literal(target), "")
		all = append(all, &one)
		return &one
	}
	for _, m := range s.Container.Mounts {
		add("bind", m.From, m.To).add("read_only", true, "")
	}
	for _, path := range slices.Sorted(maps.Keys(s.Container.Tmpfs)) {
		var size block
		size.add("size", s.Container.Tmpfs[path], "")
		add("tmpfs", "", path).add("tmpfs", &size, "")
	}
	if d.meets(s) {
		var how block
		how.add("nocopy", true, "")
		add("volume", "sockets", stacks.SocketFolder).add("volume", &how, "")
	}
	return all
}

// meets reports whether a service has the folder of the stack's sockets.
func (d Deployment) meets(s stacks.Service) bool {
	return s.Unix || s.Proxy != nil && slices.ContainsFunc(d.Spec.Services, func(one stacks.Service) bool { return one.Unix })
}
