// Package nvml reads NVIDIA's GPUs through NVML, the driver's library. It is the
// only package with cgo. Built without cgo, or for a system other than Linux, its
// Open says so, and everything else works without a GPU.
//
// Open loads the library; starting the program does not. Nothing here changes a
// device: accounting mode and the like are only read.
package nvml

import (
	"fmt"
	"strconv"
	"strings"

	"stackmeter/orchestrator/gpu"
)

// defaultLibrary is the library that the driver installs.
const defaultLibrary = "libnvidia-ml.so.1"

// Options say where to look. The zero value is the real driver.
type Options struct {
	// Library is the path of the library, or its name for the dynamic linker
	// to find; empty is defaultLibrary. A process can use only one library in
	// its life: the linker keeps the first one's functions.
	Library string

	// Proc is where the kernel shows processes; empty is /proc.
	Proc string
}

// hostPIDNamespace is the target of the link /proc/self/ns/pid in the host's PID
// namespace. Its inode is fixed: PROC_PID_INIT_INO in the kernel's
// include/linux/proc_ns.h.
const hostPIDNamespace = "pid:[4026531836]"

// sightOf says how far a caller can trust the process lists. namespace is the
// target of the caller's /proc/self/ns/pid, driver the driver's version.
//
// Drivers before 535.113 return the host's PIDs whatever the caller's namespace.
// Later ones translate them and silently leave out processes that the caller
// cannot see.
func sightOf(namespace, driver string) (gpu.Sight, string) {
	v, ok := parseVersion(driver)
	switch {
	case ok && v.between(version{535, 43}, version{535, 86}):
		// The call is not safe: the driver writes larger entries than the buffer
		// has room for.
		return gpu.SightNone, fmt.Sprintf("driver %s returns process lists of another layout than it announces; drivers from 535.98 on do not", driver)
	case namespace == hostPIDNamespace:
		return gpu.SightHost, ""
	case ok && !v.less(version{535, 113}):
		return gpu.SightNamespace, "stackmeter runs in a PID namespace of its own: processes of other containers and of the host cannot be seen; run it on the host, or with the host's PID namespace"
	}
	return gpu.SightNone, fmt.Sprintf("stackmeter runs in a PID namespace of its own, where the PIDs that driver %s reports mean nothing; run it on the host, or with the host's PID namespace", driver)
}

// A version is the first two numbers of a driver's version.
type version struct{ major, minor int }

// parseVersion reads the beginning of 535.104.05.
func parseVersion(s string) (version, bool) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return version{}, false
	}
	major, err1 := strconv.Atoi(parts[0])
	end := strings.IndexFunc(parts[1]+" ", func(r rune) bool { return r < '0' || r > '9' })
	minor, err2 := strconv.Atoi(parts[1][:end])
	return version{major, minor}, err1 == nil && err2 == nil
}

// less reports whether v is older than o.
func (v version) less(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// between reports whether v is from first to last, including both.
func (v version) between(first, last version) bool { return !v.less(first) && !last.less(v) }
