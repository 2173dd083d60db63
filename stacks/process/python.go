//go:build linux

package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// find looks for a program on the service's PATH, as a shell in the service's
// folder would. Its error says how to get the program.
func find(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if err := executable(path); err != nil {
			return "", fmt.Errorf("its command %q: %w", name, err)
		}
		return path, nil
	}
	path := valueOf(env, "PATH")
	for _, folder := range filepath.SplitList(path) {
		if !filepath.IsAbs(folder) {
			continue // "." would run what lies in the app's folder
		}
		if file := filepath.Join(folder, name); executable(file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("its command %q is not on PATH (%s); %s", name, path, remedy(name))
}

// executable returns nil for a path, with a slash in it, of a program that may be run.
func executable(file string) error {
	_, err := exec.LookPath(file)
	return err
}

// remedy says how to get a program.
func remedy(name string) string {
	switch name {
	case "python3", "python":
		return "install it: apt-get install python3"
	}
	for _, proxy := range servers.Proxies() {
		if p := proxy.Program(); p.Name == name {
			return "install it: apt-get install " + p.Debian
		}
	}
	for _, s := range servers.All() {
		if p := s.Program(); p.Name == name {
			return fmt.Sprintf("install it: apt-get install %s, or pip install %s in a virtual environment that app.venv names", p.Debian, cmp.Or(p.Module, p.Name))
		}
	}
	return "install it, put its folder on PATH, or name the virtual environment that has it in app.venv"
}

// resolve finds the executable of a service's command, and the argv to start it
// with. A program with a Module may be there as a module only, in a virtual
// environment on top of the system's packages or in a folder on PYTHONPATH. With
// app.venv the system's own program is not used: it would run another Python, with
// other modules.
func resolve(ctx context.Context, s stacks.Service, argv, env []string) (path string, full []string, err error) {
	name := argv[0]
	if s.Module == "" {
		path, err = find(name, env, s.Dir)
		return path, argv, err
	}
	python := filepath.Join(s.Venv, "bin", "python")
	if s.Venv != "" {
		path = filepath.Join(s.Venv, "bin", name)
		if err = executable(path); err != nil {
			err = fmt.Errorf("app.venv has no %s; %s -m pip install %s", name, python, s.Module)
		}
	} else if path, err = find(name, env, s.Dir); err != nil {
		python, _ = find("python3", env, s.Dir)
	}
	if err != nil && hasModule(ctx, python, s.Module, env, s.Dir) == nil {
		return python, append([]string{python, "-m", s.Module}, argv[1:]...), nil
	}
	return path, argv, err
}

// entered is resolve for a command that may have an entry point in front of it.
func entered(ctx context.Context, s stacks.Service, argv, env []string) (path string, full []string, err error) {
	path, full, err = resolve(ctx, s, argv, env)
	entry := s.Container.Entrypoint
	if err != nil || len(entry) == 0 {
		return path, full, err
	}
	full = slices.Concat(entry, []string{path}, full[1:])
	path, err = find(entry[0], env, s.Dir)
	return path, full, err
}

// importTimeout bounds asking Python for a module.
const importTimeout = 20 * time.Second

// importable fails when a module that the service's command needs, or the app's own, if
// it is known, cannot be found. It does not import them: that may take minutes and a
// GPU.
func importable(ctx context.Context, s stacks.Service, program string, env []string) error {
	python := interpreter(program, env)
	for _, need := range s.Needs {
		if python != "" && need.Module && errors.Is(hasModule(ctx, python, need.Name, env, s.Dir), errNoModule) {
			return fmt.Errorf("its command %q needs the module %s, and %s does not find it; apt-get install %s, or pip install %s in a virtual environment that app.venv names", s.Command[0], need.Name, python, need.Debian, need.Name)
		}
	}
	if s.WSGI == "" {
		return nil
	}
	module, _, _ := strings.Cut(s.WSGI, ":")
	module, _, _ = strings.Cut(module, ".") // looking for a.b would import a
	for _, name := range []string{module + ".py", module} {
		if _, err := os.Stat(filepath.Join(s.Dir, name)); err == nil {
			return nil
		}
	}
	if python == "" {
		return nil // the start will show
	}
	if errors.Is(hasModule(ctx, python, module, env, s.Dir), errNoModule) {
		return fmt.Errorf("the app is %s, and %s finds no module %s: neither %s.py nor a package %s is in %s, nor is it installed; correct app.wsgi or app.asgi, or app.dir, or install it", s.WSGI, python, module, module, module, s.Dir)
	}
	return nil
}

var errNoModule = errors.New("there is no such module")

// hasModule asks a Python whether it finds a module. The error is errNoModule if
// it does not, and another one if it did not answer.
func hasModule(ctx context.Context, python, module string, env []string, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()
	const noModule = 7 // a status that Python itself does not exit with
	script := fmt.Sprintf("import importlib.util, sys; sys.exit(%d if importlib.util.find_spec(sys.argv[1]) is None else 0)", noModule)
	cmd := exec.CommandContext(ctx, python, "-c", script, module)
	cmd.Env, cmd.Dir = env, dir
	err := cmd.Run()
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == noModule {
		return errNoModule
	}
	return err
}

// interpreter returns the Python that runs a program: the one in a script's first
// line, or the program itself. It is empty for other programs.
func interpreter(program string, env []string) string {
	if strings.HasPrefix(filepath.Base(program), "python") {
		return program
	}
	f, err := os.Open(program)
	if err != nil {
		return ""
	}
	defer f.Close()
	begin := make([]byte, 512)
	n, _ := io.ReadFull(f, begin)
	line, _, _ := strings.Cut(string(begin[:n]), "\n")
	text, ok := strings.CutPrefix(line, "#!")
	words := strings.Fields(text)
	if !ok || len(words) == 0 {
		return ""
	}
	path := words[0]
	if filepath.Base(path) == "env" && len(words) == 2 {
		path, _ = find(words[1], env, "")
	}
	if !strings.HasPrefix(filepath.Base(path), "python") {
		return ""
	}
	return path
}
