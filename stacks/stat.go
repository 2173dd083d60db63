package stacks

import "strconv"

// A Stat is what /proc/PID/stat says behind the command (proc_pid_stat(5)).
type Stat []string

// statFirst is the manual page's number of the first field of a Stat.
const statFirst = 3

// Number is the value of a field, by its number in the manual page: 4 to 34.
func (s Stat) Number(field int) int64 {
	n, _ := strconv.ParseInt(s[field-statFirst], 10, 64)
	return n
}

// Ended reports whether the process has ended: a zombie has, and nobody has waited
// for it yet.
func (s Stat) Ended() bool { return s[0] == "Z" || s[0] == "X" }
