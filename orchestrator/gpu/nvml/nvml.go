// Package nvml reads NVIDIA's GPUs through NVML, the driver's library. It is the
// only package with cgo. Built without cgo, or for a system other than Linux, its
// Open says so, and everything else works without a GPU.
//
// Open loads the library; starting the program does not. Nothing here changes a
// device: accounting mode and the like are only read.
package nvml

import (
	"fmt"

	"stackmeter/orchestrator/gpu"
)

// defaultLibrary is the library that the driver installs.
const defaultLibrary = "libnvidia-ml.so.1"

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
	v := versionOf(driver)
	switch {
	case v >= 535_043 && v <= 535_086:
		// The call is not safe: the driver writes larger entries than the buffer
		// has room for.
		return gpu.SightNone, fmt.Sprintf("driver %s returns process lists of another layout than it announces; drivers from 535.98 on do not", driver)
	case namespace == hostPIDNamespace:
		return gpu.SightHost, ""
	case v >= 535_113:
		return gpu.SightNamespace, "stackmeter runs in a PID namespace of its own: processes of other containers and of the host cannot be seen; run it on the host, or with the host's PID namespace"
	}
	return gpu.SightNone, fmt.Sprintf("stackmeter runs in a PID namespace of its own, where the PIDs that driver %s reports mean nothing; run it on the host, or with the host's PID namespace", driver)
}

// versionOf makes a number of the beginning of a driver's version that is larger
// for a later one: 535104 of 535.104.05. It is 0 for what is no version.
func versionOf(driver string) int {
	var major, minor int
	if read, _ := fmt.Sscanf(driver, "%d.%d", &major, &minor); read < 2 {
		return 0
	}
	return major*1000 + minor
}
