package stacks

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"stackmeter/scenarios"
)

// NginxPort is where stackmeter's nginx listens inside its container: a port
// that needs no privilege.
const NginxPort = 8080

// AppService is the name of the service that serves the app in the stacks
// made from presets and custom commands.
const AppService = "app"

// Expand makes the spec of a topology's stack. It touches nothing: the same
// plan and topology give the same spec. gpus are the devices, by UUID, that
// every service except nginx is given.
func Expand(run string, p scenarios.Plan, t scenarios.Topology, gpus []string) (Spec, error) {
	spec := Spec{Run: run, Name: t.Name, Topology: t, Ready: p.App.Ready}
	var cores []int
	if p.Resources.Cpuset != "" {
		var err error
		if cores, err = scenarios.ParseCpuset(p.Resources.Cpuset); err != nil {
			return Spec{}, fmt.Errorf("resources.cpuset: %w", err)
		}
	}
	if t.TLS {
		spec.TLS = &scenarios.TLS{}
		if p.Request.TLS != nil {
			spec.TLS = p.Request.TLS
		}
	}
	app := Service{
		Name:   AppService,
		Role:   RoleApp,
		Image:  p.App.Image,
		Build:  p.App.Build,
		Dir:    p.App.Dir,
		Venv:   p.App.Venv,
		Env:    merged(p.App.Env, t.Env),
		Port:   p.App.Port,
		CPUs:   p.Resources.CPUs,
		Memory: p.Resources.Memory,
		Cores:  cores,
		GPUs:   gpus,
	}
	if len(gpus) > 0 {
		app.MPS = p.Resources.GPU.MPS
	}
	if app.Dir == "" && app.Build != nil {
		app.Dir = app.Build.Context
	}
	if t.Image != "" {
		app = app.from(t.Image)
	}
	switch t.Server {
	case scenarios.ServerFlask:
		// As people run it: one process, a thread for each connection.
		app.Command = []string{"flask", "--app", p.App.WSGI, "run", "--host", "{host}", "--port", "{port}"}
	case scenarios.ServerGunicorn:
		app.Command = []string{
			"gunicorn", "--bind", "{host}:{port}",
			"--workers", strconv.Itoa(t.Workers), "--threads", strconv.Itoa(t.Threads),
			// gunicorn kills a worker that is silent for this long: a slow
			// inference has to fail by the client's time-out and a slow import
			// by the ready time-out, not by this one.
			"--timeout", strconv.Itoa(gunicornTimeout(p.Request.Timeout, p.App.Ready.Timeout)),
			// The heartbeat file of a worker blocks it when the container's
			// file system is slow; gunicorn's FAQ says to keep it in memory.
			"--worker-tmp-dir", "/dev/shm",
			p.App.WSGI,
		}
	case scenarios.ServerCommand:
		app.Command = t.Command
	case scenarios.ServerServices:
		for _, s := range t.Services {
			one := app
			one.Name, one.Role, one.Command, one.Port = s.Name, RoleOther, s.Command, s.Port
			one.Env = merged(app.Env, s.Env)
			if s.Image != "" {
				one = one.from(s.Image)
			}
			spec.Services = append(spec.Services, one)
		}
	default:
		return Spec{}, fmt.Errorf("topology %s: no server is called %q", t.Name, t.Server)
	}
	if t.Server != scenarios.ServerServices {
		spec.Services = []Service{app}
	}
	if len(spec.Services) == 0 {
		return Spec{}, fmt.Errorf("topology %s: it has no services", t.Name)
	}
	if t.Nginx {
		upstream := spec.Entry()
		spec.Services = append(spec.Services, Service{
			Name:   RoleNginx,
			Role:   RoleNginx,
			Port:   NginxPort,
			Proxy:  &Proxy{Upstream: upstream.Name, Timeout: p.Request.Timeout},
			CPUs:   p.Resources.CPUs,
			Memory: p.Resources.Memory,
			Cores:  cores,
		})
	}
	return spec, nil
}

// from is the service made from an image of its own: neither the app's build
// nor its folder holds what that has in it.
func (s Service) from(image string) Service {
	s.Image, s.Build, s.Dir, s.Venv = image, nil, "", ""
	return s
}

// gunicornTimeout is gunicorn's --timeout in whole seconds: a little more than
// the longer of the two, and never less than gunicorn's own default.
func gunicornTimeout(request, ready time.Duration) int {
	return max(30, int(math.Ceil(max(request, ready).Seconds()))+5)
}

func merged(base, over map[string]string) map[string]string {
	all := make(map[string]string, len(base)+len(over))
	maps.Copy(all, base)
	maps.Copy(all, over)
	return all
}
