// Package container holds what a scenario says of the containers of its services:
// who runs in them, how they are begun, within which limits, and what of their file
// system is their own.
package container

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"stackmeter/scenarios/units"
)

// Options are what is said of a service's container. A topology has them instead of
// the app, and a service instead of its topology: each key by itself.
type Options struct {
	User string `json:"user,omitempty"` // whom it runs as; the image's when empty

	// Capabilities are what it is given of those that Docker gives by default,
	// sorted. Without any it has none.
	Capabilities []string `json:"capabilities,omitempty"`

	Workdir string `json:"workdir,omitempty"` // absolute, in the container; the image's when empty

	// Entrypoint is put in front of the command, as it is. Nil is the image's, which
	// a command of the scenario replaces; empty is none.
	Entrypoint []string `json:"entrypoint,omitzero"`

	Init *bool `json:"init,omitempty"` // process 1 is an init process of the engine's; nil: it is
	PIDs int   `json:"pids,omitempty"` // most processes and threads; 0: the runtime's limit

	Ulimits  map[string]Ulimit `json:"ulimits,omitempty"`   // by their names, see limits
	ShmSize  int64             `json:"shm_size,omitempty"`  // bytes of /dev/shm; 0: the engine's default
	ReadOnly *bool             `json:"read_only,omitempty"` // of the root file system; nil: it is not
	Tmpfs    map[string]int64  `json:"tmpfs,omitempty"`     // bytes by the absolute path of a file system in memory
	Mounts   []Mount           `json:"mounts,omitempty"`
}

// A Mount is a folder or file of this machine that a container can read, and never
// write to. What is in it is in no fingerprint.
type Mount struct {
	From string `json:"from"` // absolute, without links
	To   string `json:"to"`   // absolute, in the container
}

// endless is a Ulimit without an end, as setrlimit(2) has it.
const endless = -1

// A Ulimit is a limit of each process: setrlimit(2). Both are in the unit of
// the limit, bytes or a number; -1 is no limit.
type Ulimit struct {
	Soft int64 `json:"soft"`
	Hard int64 `json:"hard"`
}

// FileLimit is the largest file that a service may write, in bytes.
const FileLimit = 64 << 30

// A limit is what a Ulimit can be.
type limit struct {
	unit units.Unit // units.Bytes or units.None
	most int64      // endless: there is no most
}

// limits are the ulimits that a scenario can set, by name, as docker run has them.
// Those that raise a priority are not among them: a stranger's app would get in the
// way of the rest of the machine.
func limits() map[string]limit {
	return map[string]limit{
		"core":       {units.Bytes, endless},
		"data":       {units.Bytes, endless},
		"fsize":      {units.Bytes, FileLimit},
		"memlock":    {units.Bytes, endless},
		"msgqueue":   {units.Bytes, endless},
		"nofile":     {units.None, 1 << 20}, // fs.nr_open, unless the machine was told otherwise
		"nproc":      {units.None, endless},
		"sigpending": {units.None, endless},
		"stack":      {units.Bytes, endless},
	}
}

// Over returns the options, and those of base where nothing is said.
func (o Options) Over(base Options) Options {
	over, under := reflect.ValueOf(o), reflect.ValueOf(&base).Elem()
	for i := range over.NumField() {
		if said := over.Field(i); !said.IsZero() {
			under.Field(i).Set(said)
		}
	}
	return base
}

// Same reports whether two containers are told the same.
func (o Options) Same(other Options) bool { return reflect.DeepEqual(o, other) }

// InMemory is how many bytes the file systems in memory can take. What is written
// to them counts as memory of the service.
func (o Options) InMemory() int64 {
	sum := o.ShmSize
	for _, size := range o.Tmpfs {
		sum += size
	}
	return sum
}

// Foreign are the keys that say what only a container can have: a local process
// has this machine's file system and the rights of the user that started it.
func (o Options) Foreign() []string {
	var keys []string
	for _, one := range []struct {
		key  string
		said bool
	}{
		{"user", o.User != ""}, {"capabilities", len(o.Capabilities) > 0}, {"workdir", o.Workdir != ""},
		{"shm_size", o.ShmSize > 0}, {"read_only", o.ReadOnly != nil && *o.ReadOnly}, {"tmpfs", len(o.Tmpfs) > 0},
		{"mounts", len(o.Mounts) > 0},
	} {
		if one.said {
			keys = append(keys, one.key)
		}
	}
	return keys
}

// Words are the options for a reader, each in a few words: shm_size 1GiB.
func (o Options) Words() []string {
	var all []string
	add := func(said bool, format string, args ...any) {
		if said {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(o.User != "", "user %s", o.User)
	add(len(o.Capabilities) > 0, "capabilities %s", strings.Join(o.Capabilities, " "))
	add(o.Workdir != "", "workdir %s", o.Workdir)
	add(o.Entrypoint != nil, "entrypoint %q", o.Entrypoint)
	add(o.Init != nil && !*o.Init, "no init process")
	add(o.PIDs > 0, "pids %d", o.PIDs)
	for _, name := range slices.Sorted(maps.Keys(o.Ulimits)) {
		unit, limit := limits()[name].unit, o.Ulimits[name]
		add(limit.Soft == limit.Hard, "ulimit %s %s", name, format(unit, limit.Soft))
		add(limit.Soft != limit.Hard, "ulimit %s %s to %s", name, format(unit, limit.Soft), format(unit, limit.Hard))
	}
	add(o.ShmSize > 0, "shm_size %s", format(units.Bytes, o.ShmSize))
	add(o.ReadOnly != nil && *o.ReadOnly, "read-only")
	for _, path := range slices.Sorted(maps.Keys(o.Tmpfs)) {
		add(true, "tmpfs %s %s", path, format(units.Bytes, o.Tmpfs[path]))
	}
	for _, m := range o.Mounts {
		add(true, "mount of %s at %s, to be read", m.From, m.To)
	}
	return all
}

// Twice returns a path that two file systems of the container are to be at; empty if
// there is none.
func (o Options) Twice() string {
	at := map[string]bool{}
	for path := range o.Tmpfs {
		at[path] = true
	}
	for _, m := range o.Mounts {
		if at[m.To] {
			return m.To
		}
		at[m.To] = true
	}
	return ""
}

func format(unit units.Unit, value int64) string {
	if value == endless {
		return unlimited
	}
	return unit.Format(float64(value))
}
