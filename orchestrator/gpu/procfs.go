package gpu

import (
	"fmt"
	"os"
	"path/filepath"
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
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("no program name in %q", text)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
	if err != nil {
		return procStat{}, fmt.Errorf("no PID in %q", text)
	}
	f := strings.Fields(text[end+1:]) // f[0] is field 3, the state
	if len(f) < 20 {
		return procStat{}, fmt.Errorf("%d fields after the name of process %d", len(f), pid)
	}
	parent, err1 := strconv.Atoi(f[1])
	session, err2 := strconv.Atoi(f[3])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return procStat{}, fmt.Errorf("no numbers where process %d should have its parent, session and start", pid)
	}
	return procStat{id: identity{pid, start}, name: text[open+1 : end], parent: parent, session: session}, nil
}

// containers returns the ids of the containers that a process runs in, outermost
// first, each once.
func (r procRoot) containers(pid int) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(string(r), strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return nil, err
	}
	return containersOf(string(text)), nil
}

// containersOf finds container ids in the text of /proc/PID/cgroup, of cgroup v1
// or v2. An id is 64 hexadecimal digits. It is a whole path element (cgroupfs
// driver: /docker/<id>), or between a dash and .scope (systemd driver:
// docker-<id>.scope, libpod-<id>.scope).
func containersOf(text string) []string {
	var ids []string
	for line := range strings.Lines(text) {
		// hierarchy:controllers:path; the path may contain colons.
		parts := strings.SplitN(strings.TrimRight(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for element := range strings.SplitSeq(parts[2], "/") {
			name := strings.TrimSuffix(element, ".scope")
			if i := strings.LastIndexByte(name, '-'); i >= 0 {
				name = name[i+1:]
			}
			if isContainerID(name) && !slices.Contains(ids, name) {
				ids = append(ids, name)
			}
		}
	}
	return ids
}

// isContainerID reports whether s looks like a full container id.
func isContainerID(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
