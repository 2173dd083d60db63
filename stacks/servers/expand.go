package servers

import (
	"fmt"
	"maps"

	"stackmeter/scenarios"
	"stackmeter/scenarios/message"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/wire"
	"stackmeter/stacks"
)

// Expand makes the spec of a topology's stack. It touches nothing: the same
// plan and topology give the same spec. Every service except a proxy gets the
// stack's devices.
func Expand(run string, p scenarios.Plan, t scenarios.Topology) (stacks.Spec, error) {
	server, err := serverOf(t)
	if err != nil {
		return stacks.Spec{}, err
	}
	spec := stacks.Spec{Run: run, Name: t.Name, Topology: t, Ready: p.App.Ready, Path: p.Request.Path, GPU: p.Resources.Of(t).GPU}
	spec.Ready.Headers = message.Fill(spec.Ready.Headers, p.App.Env)
	var cores []int
	if p.Resources.Cpuset != "" {
		if cores, err = units.ParseCpuset(p.Resources.Cpuset); err != nil {
			return stacks.Spec{}, fmt.Errorf("resources.cpuset: %w", err)
		}
	}
	if t.TLS {
		spec.TLS = &wire.TLS{}
		if p.Request.TLS != nil {
			spec.TLS = p.Request.TLS
		}
	}
	resources := p.Resources.Of(t)
	app := stacks.Service{
		Name:      stacks.AppService,
		Role:      stacks.RoleApp,
		Image:     p.App.Image,
		Build:     p.App.Build,
		Dir:       p.App.Dir,
		Venv:      p.App.Venv,
		Env:       merged(p.App.Env, t.Env),
		Container: t.Over(p.App.Options),
		Port:      p.App.Port,
		CPUs:      resources.CPUs,
		Memory:    resources.Memory,
		Cores:     cores,
		GPU:       true,
		Unix:      t.Unix,
	}
	if app.Dir == "" && app.Build != nil {
		app.Dir = app.Build.Context
	}
	if t.Image != "" {
		app = from(app, t.Image)
	}
	app.Module, app.Debian = server.Program().Module, server.Program().Debian
	if app.Debian != "" {
		app.WSGI = callable(server, p.App, t)
	}
	for i := range max(1, t.Replicas) {
		app.Name = replica(i)
		spec.Services = append(spec.Services, server.Serve(app, p, t)...)
	}
	if len(spec.Services) == 0 {
		return stacks.Spec{}, fmt.Errorf("topology %s: it has no services", t.Name)
	}
	if t.Proxy != "" {
		proxy, err := proxyOf(t.Proxy)
		if err != nil {
			return stacks.Spec{}, fmt.Errorf("topology %s: %w", t.Name, err)
		}
		var upstreams []string
		for _, s := range spec.Services[len(spec.Services)-max(1, t.Replicas):] {
			upstreams = append(upstreams, s.Name)
		}
		one := front(proxy, classOf(server, t), upstreams, p, t)
		one.CPUs, one.Memory, one.Cores = app.CPUs, app.Memory, cores
		spec.Services = append(spec.Services, one)
	}
	return spec, nil
}

// replica is the name of one of the services that serve the app, by its index.
func replica(i int) string {
	if i == 0 {
		return stacks.AppService
	}
	return fmt.Sprintf("%s-%d", stacks.AppService, i+1)
}

// callable is what the server loads of the app.
func callable(s Server, app scenarios.App, t scenarios.Topology) string {
	if classOf(s, t).ASGI {
		return app.ASGI
	}
	return app.WSGI
}

// from returns the service with an image of its own, which has nothing to do with
// the app's build or folder.
func from(s stacks.Service, image string) stacks.Service {
	s.Image, s.Build, s.Dir, s.Venv = image, nil, "", ""
	return s
}

func merged(base, over map[string]string) map[string]string {
	all := make(map[string]string, len(base)+len(over))
	maps.Copy(all, base)
	maps.Copy(all, over)
	return all
}
