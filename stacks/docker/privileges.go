package docker

import (
	"fmt"
	"slices"
	"strings"

	options "stackmeter/scenarios/container"
)

// A refusal is what programs print around an operation that was refused, and the
// capabilities that it takes: capabilities(7).
type refusal struct {
	signs []string // in lower case; one of them occurs
	takes []string
}

func refusals() []refusal {
	return []refusal{
		{[]string{"chmod", "changing permissions", "setting times", "utime"}, []string{"FOWNER"}},
		{[]string{"ping:", "sock_raw", "raw socket"}, []string{"NET_RAW"}},
		{[]string{"bind(", "bind to", "binding to", "cannot bind"}, []string{"NET_BIND_SERVICE"}},
		{[]string{"mknod"}, []string{"MKNOD"}},
		{[]string{"chroot"}, []string{"SYS_CHROOT"}},
		{[]string{"setcap"}, []string{"SETFCAP"}},
		{[]string{"kill"}, []string{"KILL"}},
		// What becomes another user does all of these, one after the other.
		{[]string{"chown", "changing ownership", "setuid", "setgid", "setresuid", "setresgid", "set groups", "setgroups", "initgroups", "switching to"}, []string{"CHOWN", "SETGID", "SETUID"}},
	}
}

// refusedAbove is how many lines above a refusal are read: a traceback of Python
// ends with it, after the call.
const refusedAbove = 3

// refusedHint says what to do about lines of a service's log that tell of something
// that Docker would have permitted; empty if none does. user is whom its container
// runs as.
func refusedHint(lines []string, user string, has []string) string {
	name, _, _ := strings.Cut(user, ":")
	root := name == "" || name == "root" || name == "0"
	var lacks []string
	for i, line := range lines {
		if strings.Contains(line, "can only run as pid 1") {
			return "(stackmeter: process 1 is an init process of stackmeter's, as of docker run --init, and this program wants to be that itself: write init: false under app, the topology or the service)"
		}
		usual := []string{"CHOWN", "SETGID", "SETUID"}
		switch {
		case strings.Contains(line, "peration not permitted"), strings.Contains(line, "no new privileges"):
		case root && strings.Contains(line, "ermission denied"): // of root, whom nobody else denies anything
			usual = []string{"DAC_OVERRIDE"}
		default:
			continue
		}
		around := strings.ToLower(strings.Join(lines[max(0, i-refusedAbove):i+1], "\n"))
		for _, one := range refusals() {
			if slices.ContainsFunc(one.signs, func(sign string) bool { return strings.Contains(around, sign) }) {
				usual = one.takes
				break
			}
		}
		lacks = append(lacks, usual...)
	}
	slices.Sort(lacks)
	lacks = slices.DeleteFunc(slices.Compact(lacks), func(one string) bool { return slices.Contains(has, one) })
	if len(lacks) == 0 {
		return ""
	}
	list := strings.Join(lacks, ", ")
	also := ""
	if !root {
		also = "user: root and "
	}
	return fmt.Sprintf("(stackmeter: this takes %s, which Docker gives to root in a container, and stackmeter only where it is asked for: write %scapabilities: [%s] under app, the topology or the service; or let the image be of the right user from the start, with USER and COPY --chown in its Dockerfile, or user: NAME in the scenario)", list, also, list)
}

// readOnlyHint says what to do about lines of a service's log that tell of a file
// system on which nothing can be written; empty if none does, or it is not read-only.
func readOnlyHint(lines []string, o options.Options) string {
	told := slices.ContainsFunc(lines, func(line string) bool {
		return strings.Contains(line, "ead-only file system") || strings.Contains(line, "No usable temporary directory")
	})
	if !told || o.ReadOnly == nil || !*o.ReadOnly {
		return ""
	}
	return "(stackmeter: read_only: true makes all of the container's file system read-only, but /dev/shm and what tmpfs names: add the folder that this writes to, as tmpfs: {/tmp: 64MiB})"
}
