//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
	"stackmeter/stacks/servers"
)

// Runtime is stacks.Runtime over local processes. New makes one.
type Runtime struct {
	stacks.Machine

	launcher  []string // the command line of this program that calls Launcher
	owner     stacks.Owner
	folders   []string // where records may be, the preferred one first
	maker     cgroup.Maker
	written   int64 // how many bytes a service may write to disks in all
	ungrouped error // why there are no control groups
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
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("process: find this program: %w", err)
	}
	r := &Runtime{launcher: []string{self, LauncherArgument}, owner: owner, folders: privateFolders(), written: 64 << 30}
	r.maker, r.ungrouped = cgroup.NewMaker()
	return r, nil
}

// Describe names the kernel and the method of reading memory, for the record of
// a run.
func (r *Runtime) Describe(context.Context) string {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = []byte("Linux")
	}
	method := r.maker.Method
	if r.ungrouped != nil {
		method = methodProc
	}
	return fmt.Sprintf("local processes (Linux %s, memory from %s)", strings.TrimSpace(string(kernel)), method)
}

// Ungrouped says why there are no control groups, and returns nil where there
// are. Without them limits are refused and memory is read from /proc.
func (r *Runtime) Ungrouped() error { return r.ungrouped }

// Check implements stacks.Runtime. It needs a place for records. Programs and modules
// depend on the scenario: Prepare looks for them.
func (r *Runtime) Check(context.Context) error {
	folder, err := openFolder(r.folders)
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	_ = os.Remove(folder) // stays while a stack has a record in it
	return nil
}

// Digest implements stacks.Runtime: local processes are not made from images.
func (r *Runtime) Digest(stacks.Service) string { return "" }

// Programs looks for what stacks without a command of their own start, on this
// process's PATH.
func (r *Runtime) Programs() []Located {
	var list []Located
	look := func(name, role string) {
		one := Located{Name: name, Remedy: remedy(name)}
		if path, err := find(name, environment(stacks.Service{Role: role}, "", "", os.Environ()), ""); err == nil {
			one.Path, one.Remedy = path, ""
		}
		list = append(list, one)
	}
	look("python3", stacks.RoleApp)
	for _, p := range servers.Proxies() {
		look(p.Program().Name, stacks.RoleProxy)
	}
	for _, s := range servers.All() {
		look(s.Program().Name, stacks.RoleApp)
	}
	return list
}
