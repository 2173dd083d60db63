//go:build linux

package process

import (
	"os"
	"path/filepath"
	"strings"

	"stackmeter/stacks"
)

// Marks in the environment of every process of a stack. By them a sweep finds
// what is left of it.
const (
	markRun     = "STACKMETER_RUN"
	markService = "STACKMETER_SERVICE" // a service of one start of one stack
)

// passed reports whether a service gets the operator's variable. It gets what is
// needed to find programs, text and the GPU's libraries. Everything else, above
// all credentials, has to be in the scenario.
func passed(name string) bool {
	switch name {
	case "PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH":
		return true
	}
	if strings.HasPrefix(name, "CUDA_MPS_") {
		return false // the scenario says whether there is MPS, and with which limits
	}
	return strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, "CUDA_") || strings.HasPrefix(name, "NVIDIA_")
}

// environment returns a service's whole environment, sorted. In rising priority it
// holds the operator's variables, those of stackmeter's own images, the virtual
// environment, the devices, the scenario's variables, MPS and the marks.
func environment(s stacks.Service, run, mark string, operator []string) []string {
	env := map[string]string{}
	for _, pair := range operator {
		name, value, _ := strings.Cut(pair, "=")
		if passed(name) {
			env[name] = value
		}
	}
	if env["PATH"] == "" {
		env["PATH"] = "/usr/local/bin:/usr/bin:/bin"
	}
	// As in the images: output is not held back, and nothing is written beside the
	// app's files.
	env["PYTHONUNBUFFERED"], env["PYTHONDONTWRITEBYTECODE"] = "1", "1"
	if s.Venv != "" {
		env["VIRTUAL_ENV"] = s.Venv
		env["PATH"] = filepath.Join(s.Venv, "bin") + ":" + env["PATH"]
	}
	if s.Role == stacks.RoleProxy {
		// Debian has some proxies here, where not every user's PATH leads.
		env["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
	}
	// Empty without a GPU: as in a container, a service that was given none must
	// not find the machine's.
	env["CUDA_VISIBLE_DEVICES"] = strings.Join(s.GPUs, ",")
	return stacks.Environ(env, s.Env, s.MPSEnvironment(stacks.MPSPipes()), map[string]string{markRun: run, markService: mark})
}

// valueOf returns a variable's value in an environment.
func valueOf(env []string, name string) string {
	for _, pair := range env {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// launcherEnvironment returns the whole environment of a launcher. A program that
// was built for coverage or to find races needs two variables.
func launcherEnvironment() []string {
	env := []string{launcherMark + "=1", "GOMAXPROCS=1"}
	for _, name := range []string{"GOCOVERDIR", "GORACE"} {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}
