//go:build linux

package process

import "stackmeter/stacks/cgroup"

// An order is what a supervisor is told on its standard input. The end of that
// input is the order to stop.
type order struct {
	Record record
	File   string          // of the record
	Groups []cgroup.Folder // to be made; Record.Groups are their paths
	Files  []file          // to be written below Record.Temp
	Cores  []int           // that the program may use; any when empty
	Program
}

// A Program is what a service executes.
type Program struct {
	Path string // of the executable
	Argv []string
	Env  []string
}

// A file is one that the service needs.
type file struct{ Path, Text string }

// An enterOrder is what the second step of the launcher is told: which groups
// to enter before it becomes the program, and which cores that may use.
type enterOrder struct {
	Groups []string
	Cores  []int // any when empty
	Program
}

// A report is a line on a supervisor's standard output: first Started or
// Failed, then, where the service ends by itself, Ended.
type report struct {
	Started *identity `json:",omitempty"` // the program runs
	Failed  string    `json:",omitempty"` // it does not, and why
	Ended   *ending   `json:",omitempty"` // the first process ended, and the others with it
}

// An ending is how a service's first process ended.
type ending struct {
	Status   int // exit status, when Signal is 0
	Signal   int
	OOMKills int // processes of the service that the kernel killed for memory
}
