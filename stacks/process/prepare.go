//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"stackmeter/scenarios/container"
	"stackmeter/stacks"
)

// Prepare implements stacks.Runtime. It makes and fetches nothing, but says what
// is missing before anything starts.
func (r *Runtime) Prepare(ctx context.Context, spec stacks.Spec, progress func(string)) error {
	spec, err := r.Give(spec)
	if err != nil {
		return err
	}
	for _, s := range spec.Services {
		if keys := s.Container.Foreign(); len(keys) > 0 {
			return fmt.Errorf("%w: only containers have %s, which app, a topology or a service asks for; a local process has this machine's file system and the rights of the user that starts stackmeter: remove them (--set app.%s=null), or use --runtime docker", stacks.ErrUnavailable, strings.Join(keys, ", "), keys[0])
		}
		if err := settable(s.Container.Ulimits); err != nil {
			return fmt.Errorf("%w: %w", stacks.ErrUnavailable, err)
		}
		if err := r.limits(s); err != nil {
			return fmt.Errorf("%w: %w", stacks.ErrUnavailable, err)
		}
		if s.MPS != nil {
			if err := stacks.CheckMPS(stacks.MPSPipes()); err != nil {
				return fmt.Errorf("%w: %w", stacks.ErrUnavailable, err)
			}
		}
	}
	var failed error
	for _, s := range spec.Services {
		if err := r.ready(ctx, spec, s); err != nil {
			failed = errors.Join(failed, fmt.Errorf("service %s: %w", s.Name, err))
		}
	}
	return failed
}

// resources are the ulimits that a scenario can set: setrlimit(2).
var resources = map[string]int{
	"core": unix.RLIMIT_CORE, "data": unix.RLIMIT_DATA, "fsize": unix.RLIMIT_FSIZE, "memlock": unix.RLIMIT_MEMLOCK,
	"msgqueue": unix.RLIMIT_MSGQUEUE, "nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC,
	"sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// settable fails when this user cannot give a service its ulimits: a hard limit above
// the own one takes root.
func settable(limits map[string]container.Ulimit) error {
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		var own unix.Rlimit
		if err := unix.Getrlimit(resources[name], &own); err != nil {
			return fmt.Errorf("ulimits.%s: %w", name, err)
		}
		if asked := uint64(limits[name].Hard); asked > own.Max && os.Geteuid() != 0 { // -1, which is no limit, is the largest
			return fmt.Errorf("ulimits.%s has a hard limit above the %d of this process, which only root can raise; ask for less, or start stackmeter with a higher one (ulimit -H)", name, own.Max)
		}
	}
	return nil
}

// limits fails when this machine or this user cannot enforce a service's limits.
func (r *Runtime) limits(s stacks.Service) error {
	if s.CPUs == 0 && s.Memory == 0 {
		return nil
	}
	if s.CPUs > float64(runtime.NumCPU()) {
		return fmt.Errorf("resources.cpus is %v and this machine has %d; ask for less, or for none to set no limit", s.CPUs, runtime.NumCPU())
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		if total := int64(info.Totalram) * int64(info.Unit); s.Memory > total {
			return fmt.Errorf("resources.memory is %d bytes and this machine has %d", s.Memory, total)
		}
	}
	err := r.ungrouped
	if err == nil {
		_, _, err = r.maker.Plan("stackmeter", groupLimits(s))
	}
	if err != nil {
		return fmt.Errorf("resources.cpus and resources.memory cannot be enforced on local processes here: %w; take them out of the scenario, or give this user a control group", err)
	}
	return nil
}

// ready fails when a service cannot be started as a local process.
func (r *Runtime) ready(ctx context.Context, spec stacks.Spec, s stacks.Service) error {
	if s.Proxy != nil {
		_, err := find(s.Proxy.Software, environment(s, spec.Run, "", os.Environ()), "")
		return err
	}
	if s.Dir == "" {
		if s.Image != "" {
			return fmt.Errorf("there is only an image, %s, which a local process cannot be made from; set app.dir to the app's folder, which stands in for app.image where that is one image, and for no other", s.Image)
		}
		return errors.New("it has no folder to run in; set app.dir to the app's")
	}
	if info, err := os.Stat(s.Dir); err != nil {
		return fmt.Errorf("its folder (app.dir or app.build): %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("its folder (app.dir or app.build) %s is not a folder", s.Dir)
	}
	if len(s.Command) == 0 {
		return errors.New("its command is what the image says, and a local process has no image; add command: [PROGRAM, …]")
	}
	if s.Venv != "" {
		if _, err := os.Stat(s.Venv + "/bin/python"); err != nil {
			return fmt.Errorf("app.venv: %w; make it with python3 -m venv %s", err, s.Venv)
		}
	}
	env := environment(s, spec.Run, "", os.Environ())
	program, _, err := resolve(ctx, s, s.Command, env)
	if err != nil {
		return err
	}
	if _, _, err := entered(ctx, s, s.Command, env); err != nil {
		return err
	}
	if ask := spec.Ready.Command; len(ask) > 0 && slices.Contains(spec.Answering(), s.Name) {
		if _, err := find(ask[0], env, s.Dir); err != nil {
			return fmt.Errorf("app.ready.command: %w", err)
		}
	}
	if err := reachable(spec, s); err != nil {
		return err
	}
	return importable(ctx, s, program, env)
}

// reachable refuses what works only in a container's network: a port of the
// command's own choice, and names of services.
func reachable(spec stacks.Spec, s stacks.Service) error {
	if s.Unix {
		if !mentions(s.Command, "{socket}") {
			return fmt.Errorf("its command takes no {socket}: with unix it has to be told the path of the socket that it gets; write {socket} where the command takes its address, as in --bind=unix:{socket}")
		}
	} else if wanted(spec, s) && !mentions(s.Command, "{port}") {
		return fmt.Errorf("its command takes no {port}: a local process has to be told the free port that it gets; write {host} and {port} where the command takes its address")
	}
	for _, other := range spec.Services {
		if other.Name == s.Name {
			continue
		}
		for _, text := range slices.Concat(s.Command, slices.Sorted(maps.Values(s.Env))) {
			if named(text, other.Name) {
				return fmt.Errorf("%q names the service %s, and only containers know each other by name; write {host:%s} and {port:%s} in the command", text, other.Name, other.Name, other.Name)
			}
		}
	}
	return nil
}

// wanted reports whether anyone connects to a service: the client, a proxy, or
// another service that names it.
func wanted(spec stacks.Spec, s stacks.Service) bool {
	if spec.Entry().Name == s.Name {
		return true
	}
	for _, other := range spec.Services {
		if other.Proxy != nil && slices.Contains(other.Proxy.Upstreams, s.Name) || mentions(other.Command, "{port:"+s.Name+"}") {
			return true
		}
	}
	return false
}

func mentions(command []string, placeholder string) bool {
	return slices.ContainsFunc(command, func(arg string) bool {
		// In "{{port}}" the braces are the text's own.
		return strings.Contains(strings.ReplaceAll(arg, "{{", ""), placeholder)
	})
}

// named reports whether a text contains a service's name in an address: //NAME or
// NAME:PORT, but not as a part of another word.
func named(text, name string) bool {
	name = regexp.QuoteMeta(name)
	return regexp.MustCompile(`//` + name + `([^-.\w{]|$)|(^|[^-.:\w{])` + name + `:\d`).MatchString(text)
}
