package nvml

import (
	"fmt"
	"strconv"
	"strings"

	"stackmeter/orchestrator/gpu"
)

// hostPIDNamespace is what /proc/self/ns/pid links to in the host's PID
// namespace: its inode is fixed (PROC_PID_INIT_INO in the kernel's
// include/linux/proc_ns.h).
const hostPIDNamespace = "pid:[4026531836]"

// sightOf says what the process lists are worth to a caller whose
// /proc/self/ns/pid links to namespace, with a driver of a version.
//
// Drivers before 535.113 return the host's PIDs whatever the caller's
// namespace is. Later ones translate them, and silently leave out the
// processes that the caller cannot see.
func sightOf(namespace, driver string) (gpu.Sight, string) {
	v, ok := parseVersion(driver)
	switch {
	case ok && v.between(version{535, 43}, version{535, 86}):
		// Calling is not safe: the driver writes larger entries than the
		// buffer has room for.
		return gpu.SightNone, fmt.Sprintf("driver %s returns process lists of another layout than it announces; drivers from 535.98 on do not", driver)
	case namespace == hostPIDNamespace:
		return gpu.SightHost, ""
	case ok && !v.less(version{535, 113}):
		return gpu.SightNamespace, "stackmeter runs in a PID namespace of its own: processes of other containers and of the host cannot be seen; run it on the host, or with the host's PID namespace"
	}
	return gpu.SightNone, fmt.Sprintf("stackmeter runs in a PID namespace of its own, where the PIDs that driver %s reports mean nothing; run it on the host, or with the host's PID namespace", driver)
}

// A version is a driver's, without what follows its second number.
type version struct{ major, minor int }

// parseVersion reads the beginning of 535.104.05.
func parseVersion(s string) (version, bool) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return version{}, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(leadingDigits(parts[1]))
	return version{major, minor}, err1 == nil && err2 == nil
}

// leadingDigits is what of s is a number.
func leadingDigits(s string) string {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		return s[:i]
	}
	return s
}

// less reports whether v is older than o.
func (v version) less(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// between reports whether v is one of first to last, both included.
func (v version) between(first, last version) bool { return !v.less(first) && !last.less(v) }
