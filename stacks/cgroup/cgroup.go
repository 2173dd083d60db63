// Package cgroup reads what the processes of a service use from the control
// group that its runtime put them in, version 1 or 2.
//
// Memory is counted without page cache. The first container that reads a
// library's file is charged for its pages and the next one is not: a figure with
// page cache would say more about the order of the cells than about the stack.
// The kernel's own high-water mark includes the cache. It is read too, as an
// upper bound that no sampling can miss.
package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Methods by which a memory figure was obtained.
const (
	methodV1 = "cgroup-v1" // memory.usage_in_bytes less the page cache of memory.stat
	methodV2 = "cgroup-v2" // memory.current less the page cache of memory.stat
)

// A Group is the control group of one service.
type Group struct {
	Method  string
	memory  string // folder with the memory controller's files
	cpu     string // folder with the CPU accounting files
	freezer string // folder with the freezer's files; empty: what freezes is found by the processes
}

// Of returns the group of a process.
func Of(pid int) (Group, error) {
	return find(os.DirFS("/"), pid)
}

// Holds reports whether the group belongs to the container. PIDs are looked up in
// this process's own namespace, where the engine's PID may be another process.
func (g Group) Holds(container string) bool { return strings.Contains(g.memory, container) }

// Processes are the processes of the group and of those below it, sorted.
func (g Group) Processes() []int {
	var folders []string
	_ = filepath.WalkDir(g.memory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil // a group that is gone has no processes
	})
	pids := Processes(folders)
	slices.Sort(pids)
	return pids
}

// find is Of on a file system that a test can provide.
func find(root fs.FS, pid int) (Group, error) {
	membership, err := fs.ReadFile(root, fmt.Sprintf("proc/%d/cgroup", pid))
	if err != nil {
		return Group{}, fmt.Errorf("control group of process %d: %w", pid, err)
	}
	mountinfo, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return Group{}, fmt.Errorf("control groups of this machine: %w", err)
	}
	mounts := parseMounts(mountinfo)
	paths := parseMembership(membership)

	// A machine can have both. Version 2 counts only if it has the memory
	// controller, which is then not mounted as version 1.
	if m, ok := mounts["memory"]; ok {
		g := Group{Method: methodV1, memory: m.dir(paths["memory"])}
		if c, ok := mounts["cpuacct"]; ok {
			g.cpu = c.dir(paths["cpuacct"])
		}
		return g, nil
	}
	if m, ok := mounts[""]; ok {
		dir := m.dir(paths[""])
		if _, err := fs.Stat(root, strings.TrimPrefix(dir, "/")+"/memory.current"); err == nil {
			return Group{Method: methodV2, memory: dir, cpu: dir}, nil
		}
	}
	return Group{}, fmt.Errorf("control group of process %d: no memory controller is mounted here", pid)
}

// A mount is one hierarchy: where it is mounted, and which of its groups is at
// the mount point (inside a container it is not "/").
type mount struct{ point, root string }

func (m mount) dir(group string) string {
	if m.root != "/" {
		// A group beside the root whose name only begins the same is not below it.
		if rest, ok := strings.CutPrefix(group, m.root); ok && (rest == "" || rest[0] == '/') {
			group = rest
		}
	}
	return filepath.Join(m.point, group)
}

// parseMounts maps each version 1 controller to its hierarchy, and "" to the
// hierarchy of version 2. The format is in proc(5).
func parseMounts(mountinfo []byte) map[string]mount {
	mounts := map[string]mount{}
	for line := range strings.Lines(string(mountinfo)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		if !ok {
			continue
		}
		at, kind := strings.Fields(left), strings.Fields(right)
		if len(at) < 5 || len(kind) < 3 {
			continue
		}
		m := mount{root: at[3], point: at[4]}
		switch kind[0] {
		case "cgroup2":
			if _, seen := mounts[""]; !seen {
				mounts[""] = m
			}
		case "cgroup":
			for option := range strings.SplitSeq(kind[2], ",") {
				if _, seen := mounts[option]; !seen && option != "" {
					mounts[option] = m
				}
			}
		}
	}
	return mounts
}

// parseMembership reads /proc/PID/cgroup: it maps each controller to the group of
// the process.
func parseMembership(text []byte) map[string]string {
	paths := map[string]string{}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	return paths
}

// Memory returns what the group uses now, in bytes, without page cache.
func (g Group) Memory() (int64, error) {
	usage, cache, shmem := "memory.current", "file", "shmem"
	if g.Method == methodV1 {
		usage, cache, shmem = "memory.usage_in_bytes", "total_cache", "total_shmem"
	}
	used, err := number(g.memory, usage)
	if err != nil {
		return 0, err
	}
	stat, err := table(g.memory, "memory.stat")
	if err != nil {
		return 0, err
	}
	// The kernel counts shared memory as page cache, but nobody can drop it: the
	// service holds it.
	return max(0, used-(stat[cache]-stat[shmem])), nil
}

// CPU returns the CPU time that the group has used since it was made, user and
// system.
func (g Group) CPU() (time.Duration, error) {
	if g.Method == methodV1 {
		if g.cpu == "" {
			return 0, errors.New("the cpuacct controller is not mounted here")
		}
		ns, err := number(g.cpu, "cpuacct.usage")
		return time.Duration(ns), err
	}
	stat, err := table(g.cpu, "cpu.stat")
	return time.Duration(stat["usage_usec"]) * time.Microsecond, err
}

func number(dir, file string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
}

// table reads a file of lines "name value".
func table(dir, file string) (map[string]int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			values[name] = n
		}
	}
	return values, nil
}
