package gpu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// procRoot is the folder with the kernel's files about processes: /proc, or a
// test's.
type procRoot string

// An identity names one process. A PID alone does not: the kernel uses it again.
type identity struct {
	pid   int
	start uint64 // clock ticks after boot
}

// A procStat is what /proc/PID/stat says about a process.
type procStat struct {
	id      identity
	name    string
	parent  int
	session int
}

// stat reads a process's stat file. The error wraps os.ErrNotExist if there is no
// such process.
func (r procRoot) stat(pid int) (procStat, error) {
	text, err := os.ReadFile(filepath.Join(string(r), strconv.Itoa(pid), "stat"))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(string(text))
}

// parseStat reads the fields of proc_pid_stat(5) that are needed here. The
// program's name is in parentheses and may contain spaces and parentheses.
func parseStat(text string) (procStat, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	f := strings.Fields(text[end+1:]) // f[0] is field 3, the state
	if open < 0 || end < open || len(f) < 20 {
		return procStat{}, fmt.Errorf("not what /proc says of a process: %q", text)
	}
	pid, err0 := strconv.Atoi(strings.TrimSpace(text[:open]))
	parent, err1 := strconv.Atoi(f[1])
	session, err2 := strconv.Atoi(f[3])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	return procStat{id: identity{pid, start}, name: text[open+1 : end], parent: parent, session: session}, errors.Join(err0, err1, err2, err3)
}

// containerID is a path element with a container's id, 64 hexadecimal digits: the
// whole element (cgroupfs driver: /docker/<id>), or what is between a dash and
// .scope (systemd driver: docker-<id>.scope, libpod-<id>.scope).
var containerID = regexp.MustCompile(`^(?:.*-)?([0-9a-f]{64})(?:\.scope)?$`)

// containers returns the ids of the containers that a process runs in, outermost
// first, each once.
func (r procRoot) containers(pid int) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(string(r), strconv.Itoa(pid), "cgroup"))
	return containersOf(string(text)), err
}

// containersOf finds the ids in the text of /proc/PID/cgroup, of cgroup v1 or v2.
func containersOf(text string) []string {
	var ids []string
	for element := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '/' || r == '\n' }) {
		if m := containerID.FindStringSubmatch(element); m != nil && !slices.Contains(ids, m[1]) {
			ids = append(ids, m[1])
		}
	}
	return ids
}
