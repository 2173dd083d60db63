//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
	"stackmeter/stacks/servers"
)

// Runtime is stacks.Runtime over local processes. New makes one.
type Runtime struct {
	stacks.Machine

	// Command starts a program that calls Launcher. Empty: this program with
	// LauncherArgument.
	Command []string

	// NoGroup does without control groups even where they can be made: memory
	// and CPU time are then read from /proc, and limits are refused.
	NoGroup bool

	owner     stacks.Owner
	folders   []string // where records may be, the preferred one first
	maker     cgroup.Maker
	makeError error // why there are no control groups
}

// New finds out what this machine offers. It starts nothing.
func New() (*Runtime, error) {
	if os.Getenv(launcherMark) != "" {
		return nil, errors.New("process: a launcher of local processes starts no stacks; its program has to call process.Launcher")
	}
	owner, err := stacks.Self()
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	r := &Runtime{owner: owner, folders: privateFolders()}
	r.maker, r.makeError = cgroup.NewMaker()
	return r, nil
}

// Close does nothing. A stack that was not stopped ends with this process.
func (r *Runtime) Close() error { return nil }

// Local returns true: the services are processes of this machine.
func (r *Runtime) Local(context.Context) (bool, error) { return true, nil }

// Describe names the kernel and the method of reading memory, for the record of
// a run.
func (r *Runtime) Describe(context.Context) string {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("Linux")
	}
	return fmt.Sprintf("local processes (Linux %s, memory from %s)", strings.TrimSpace(string(kernel)), r.method())
}

// method is how a stack's memory is obtained.
func (r *Runtime) method() string {
	if r.Ungrouped() != nil {
		return methodProc
	}
	return r.maker.Method
}

// Ungrouped says why there are no control groups, and returns nil where there
// are. Without them limits are refused and memory is read from /proc.
func (r *Runtime) Ungrouped() error {
	if r.NoGroup {
		return errors.New("control groups are switched off")
	}
	return r.makeError
}

// Check implements stacks.Runtime. It needs a place for records and a launcher to
// start. Programs and modules depend on the scenario: Prepare looks for them.
func (r *Runtime) Check(context.Context) error {
	folder, err := openFolder(r.folders)
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	_ = os.Remove(folder) // stays while a stack has a record in it
	if _, err := r.command(); err != nil {
		return fmt.Errorf("process: %w", err)
	}
	return nil
}

// Digest implements stacks.Runtime: local processes are not made from images.
func (r *Runtime) Digest(stacks.Service) string { return "" }

// Located is a program that stacks start, and where it is.
type Located struct {
	Name   string
	Path   string // empty when it is not there
	Remedy string // how to get it then
}

// Programs looks for what stacks without a command of their own start, on this
// process's PATH.
func (r *Runtime) Programs() []Located {
	names := []string{"python3"}
	for _, s := range servers.All() {
		names = append(names, s.Program().Name)
	}
	var list []Located
	for _, name := range append(names, "nginx") {
		s := stacks.Service{Role: stacks.RoleApp}
		if name == "nginx" {
			s.Role = stacks.RoleNginx
		}
		one := Located{Name: name}
		path, err := find(name, environment(s, "", "", os.Environ()), "")
		if err != nil {
			one.Remedy = remedy(name)
		}
		one.Path = path
		list = append(list, one)
	}
	return list
}

// command is the launcher's command line.
func (r *Runtime) command() ([]string, error) {
	if len(r.Command) > 0 {
		return r.Command, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return []string{filepath.Clean(self), LauncherArgument}, nil
}
