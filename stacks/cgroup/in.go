package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// In returns the group of a container below a folder that has all hierarchies of a
// machine, as its /sys/fs/cgroup. It is for whoever is in a namespace of its own, from
// which a process's membership leads nowhere: the engine names the group after the
// container.
func In(root, container string) (Group, error) {
	if container == "" {
		return Group{}, errors.New("control group: the container has no id")
	}
	memory, v1 := filepath.Join(root, "memory"), true
	if _, err := os.Stat(filepath.Join(memory, "memory.stat")); err != nil {
		memory, v1 = root, false
	}
	below, err := named(memory, container)
	if err != nil {
		return Group{}, err
	}
	dir := filepath.Join(memory, below)
	if !v1 {
		if _, err := os.Stat(filepath.Join(dir, "memory.current")); err != nil {
			return Group{}, fmt.Errorf("control group of container %s: the memory controller is not on there: %w", container, err)
		}
		return Group{Method: methodV2, memory: dir, cpu: dir, freezer: dir}, nil
	}
	g := Group{Method: methodV1, memory: dir}
	if cpu := filepath.Join(root, "cpuacct", below); isFolder(cpu) {
		g.cpu = cpu
	}
	if freezer := filepath.Join(root, "freezer", below); isFolder(freezer) {
		g.freezer = freezer
	}
	return g, nil
}

// named finds the group of a container below a hierarchy's root, by its name.
func named(root, container string) (below string, err error) {
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // it has gone meanwhile, or is not to be seen
		}
		if !isOf(entry.Name(), container) {
			return nil
		}
		if below, err = filepath.Rel(root, path); err != nil {
			return err
		}
		return fs.SkipAll
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("control group of container %s: %w", container, err)
	case below == "":
		return "", fmt.Errorf("control group of container %s: there is none below %s", container, root)
	}
	return below, nil
}

// isOf reports whether a group is called after a container: by its id alone (the driver
// cgroupfs), or with the engine's name in front as a scope of systemd. The scope of
// CRI-O's monitor has the id too.
func isOf(name, container string) bool {
	engine, is := strings.CutSuffix(strings.TrimSuffix(name, ".scope"), container)
	return is && (engine == "" || strings.HasSuffix(engine, "-") && !strings.Contains(engine, "conmon"))
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
