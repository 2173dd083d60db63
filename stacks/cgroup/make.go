package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Maker plans groups that this process makes itself. With version 1 they are
// below the group of this process. With version 2 a group with processes gives no
// controllers to the groups below it, so they are beside it: in the nearest group
// above that hands down the controllers of memory and CPU time and that this user
// may write to, or else in one that hands down memory alone.
type Maker struct {
	Method  string
	parents map[string]string // by controller, the folder to make groups in
}

// NewMaker finds where this process may make groups. Its error says why it may
// nowhere.
func NewMaker() (Maker, error) {
	m, candidates, err := places(os.DirFS("/"))
	if err != nil {
		return Maker{}, err
	}
	var refused error
	if m.Method == methodV2 {
		for _, dir := range candidates {
			if err := probe(dir); err != nil {
				refused = errors.Join(refused, err)
				continue
			}
			return m.beside(dir), nil
		}
		return Maker{}, fmt.Errorf("no control group of this user's hands the memory controller down: %w", errors.Join(refused, errDelegate))
	}
	for controller, dir := range m.parents {
		if err := probe(dir); err != nil {
			if controller == "memory" {
				return Maker{}, fmt.Errorf("control group: %w", err)
			}
			delete(m.parents, controller)
		}
	}
	return m, nil
}

var errDelegate = errors.New("start stackmeter from a user's session of systemd (systemd-run --user --scope), or as root")

// places finds where groups could be made, without trying: for version 1 a Maker
// with its parents, for version 2 folders, the best one first.
func places(root fs.FS) (Maker, []string, error) {
	mountinfo, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return Maker{}, nil, fmt.Errorf("control groups of this machine: %w", err)
	}
	membership, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return Maker{}, nil, fmt.Errorf("control group of this process: %w", err)
	}
	mounts, paths := parseMounts(mountinfo), parseMembership(membership)
	if _, ok := mounts["memory"]; ok {
		m := Maker{Method: methodV1, parents: map[string]string{}}
		for _, controller := range []string{"memory", "cpu", "cpuacct", "pids"} {
			if at, ok := mounts[controller]; ok {
				m.parents[controller] = at.dir(paths[controller])
			}
		}
		return m, nil, nil
	}
	at, ok := mounts[""]
	if !ok {
		return Maker{}, nil, errors.New("no control groups are mounted here")
	}
	var candidates, memoryOnly []string
	for dir := at.dir(paths[""]); dir == at.point || strings.HasPrefix(dir, at.point+"/"); dir = filepath.Dir(dir) {
		given := controllers(root, dir)
		switch memory := slices.Contains(given, "memory"); {
		case memory && slices.Contains(given, "cpu"):
			candidates = append(candidates, dir)
		case memory:
			memoryOnly = append(memoryOnly, dir)
		}
	}
	return Maker{Method: methodV2}, append(candidates, memoryOnly...), nil
}

// controllers returns the controllers that a version 2 group gives to the groups
// in it.
func controllers(root fs.FS, dir string) []string {
	text, err := fs.ReadFile(root, strings.TrimPrefix(dir, "/")+"/cgroup.subtree_control")
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

func (m Maker) beside(dir string) Maker {
	m.parents = map[string]string{}
	for _, controller := range controllers(os.DirFS("/"), dir) {
		m.parents[controller] = dir
	}
	return m
}

// probe makes a group and removes it. It checks that processes may be moved there
// from the group of this process.
func probe(dir string) error {
	made, err := os.MkdirTemp(dir, "stackmeter-probe-")
	if err != nil {
		return err
	}
	if err := os.Remove(made); err != nil {
		return err
	}
	procs, err := os.OpenFile(filepath.Join(dir, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return procs.Close()
}

// Limits of a group; 0 is no limit.
type Limits struct {
	CPUs   float64
	Memory int64 // bytes, swap included
	PIDs   int   // ignored where the controller is not there
}

// A Folder is a part of a planned group. With version 1 each hierarchy has its
// own.
type Folder struct {
	Path     string
	Settings []Setting
}

// A Setting is written to a file of a folder once that is made.
type Setting struct {
	File, Value string
	Optional    bool // the kernel may lack the file
}

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100_000

// Plan returns the folders to make for a group of this name, and the group to
// read. It makes nothing.
func (m Maker) Plan(name string, l Limits) ([]Folder, Group, error) {
	settings := map[string][]Setting{}
	quota := strconv.FormatInt(int64(math.Round(l.CPUs*cpuPeriod)), 10)
	period, memory := strconv.Itoa(cpuPeriod), strconv.FormatInt(l.Memory, 10)
	if l.CPUs > 0 {
		settings["cpu"] = []Setting{{File: "cpu.cfs_period_us", Value: period}, {File: "cpu.cfs_quota_us", Value: quota}}
		if m.Method == methodV2 {
			settings["cpu"] = []Setting{{File: "cpu.max", Value: quota + " " + period}}
		}
	}
	if l.Memory > 0 {
		// In this order: the limit with swap cannot be under the one without.
		settings["memory"] = []Setting{
			{File: "memory.limit_in_bytes", Value: memory},
			{File: "memory.memsw.limit_in_bytes", Value: memory, Optional: true},
		}
		if m.Method == methodV2 {
			settings["memory"] = []Setting{
				{File: "memory.max", Value: memory},
				{File: "memory.swap.max", Value: "0", Optional: true},
			}
		}
	}
	if _, ok := m.parents["pids"]; ok && l.PIDs > 0 {
		settings["pids"] = []Setting{{File: "pids.max", Value: strconv.Itoa(l.PIDs), Optional: true}}
	}
	for controller := range settings {
		if _, ok := m.parents[controller]; !ok {
			return nil, Group{}, fmt.Errorf("the %s controller cannot be used by this user", controller)
		}
	}
	var folders []Folder
	for _, controller := range []string{"memory", "cpu", "cpuacct", "pids"} {
		parent, ok := m.parents[controller]
		if !ok {
			continue
		}
		path := filepath.Join(parent, name)
		i := slices.IndexFunc(folders, func(f Folder) bool { return f.Path == path })
		if i < 0 {
			i, folders = len(folders), append(folders, Folder{Path: path})
		}
		folders[i].Settings = append(folders[i].Settings, settings[controller]...)
	}
	return folders, m.group(name), nil
}

func (m Maker) group(name string) Group {
	g := Group{Method: m.Method, memory: filepath.Join(m.parents["memory"], name)}
	if m.Method == methodV2 {
		g.cpu = g.memory
	} else if parent, ok := m.parents["cpuacct"]; ok {
		g.cpu = filepath.Join(parent, name)
	}
	return g
}

// Make makes what was planned. When it fails, the caller has to remove what was
// made.
func Make(folders []Folder) error {
	for _, f := range folders {
		if err := os.Mkdir(f.Path, 0o755); err != nil {
			return fmt.Errorf("make a control group: %w", err)
		}
		for _, s := range f.Settings {
			err := write(f.Path, s.File, s.Value)
			if err != nil && !(s.Optional && errors.Is(err, fs.ErrNotExist)) {
				return fmt.Errorf("set %s of a control group to %s: %w", s.File, s.Value, err)
			}
		}
	}
	return nil
}

// Enter moves the calling process into a group.
func Enter(folders []string) error {
	for _, dir := range folders {
		if err := write(dir, "cgroup.procs", "0"); err != nil {
			return fmt.Errorf("enter a control group: %w", err)
		}
	}
	return nil
}

// write opens without O_CREATE. Files cannot be created in the kernel's file
// system, and the error would then not say that the file is missing.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Processes returns the PIDs in a group, none if there is no such group.
func Processes(folders []string) []int {
	var pids []int
	for _, dir := range folders {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Remove removes a group without processes. A group that is not there counts as
// removed.
func Remove(folders []string) error {
	var failed error
	for _, dir := range folders {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("control group %w", err))
		}
	}
	return failed
}

// Killed returns how many processes of a group the kernel has killed for memory since
// the group was made, and -1 where it does not say.
func Killed(folders []string) int {
	for _, dir := range folders {
		for _, file := range []string{"memory.oom_control", "memory.events"} {
			if stat, err := table(dir, file); err == nil {
				return int(stat["oom_kill"])
			}
		}
	}
	return -1
}
