// Package fakedriver builds and drives a FAKE NVIDIA driver for tests on
// machines without a GPU: a libnvidia-ml.so.1 in C, whose state is a folder.
// Only the device is fake: the library is loaded and called through cgo,
// processes and containers are real. Its devices' names and its version say
// FAKE, and every result made with it is flagged so.
//
// # The state
//
// The environment variable STACKMETER_FAKE_GPU names the folder to the
// library. It is read anew at each call. Its file devices has these lines:
//
//	driver VERSION
//	device UUID TOTAL RESERVED BASE PARENT NAME…   bytes; BASE is in use without a process; PARENT -1, or the line number of the GPU that this is a MIG instance of
//	process DEVICE PID BYTES KIND                  a process by hand; BYTES - is NOT_AVAILABLE; KIND c, g or m (compute, graphics, MPS)
//	telemetry DEVICE UTILIZATION MW MW-LIMIT MJ SM-MHZ MEMORY-MHZ CELSIUS THROTTLE-BITS
//	error FUNCTION RETURN [DEVICE]                 what the function answers (nvmlReturn_t); names of lists, init and count without their version
//	hang FUNCTION MILLISECONDS
//	accounting                                     accounting mode is on
//	garbage                                        process lists are laid out as by drivers 535.43 to 535.86
//
// Every file in the folder alloc is what one process holds, in lines of
//
//	DEVICE BYTES [PEAK [KIND]]
//
// where DEVICE is a UUID or a line number, PEAK is what accounting keeps, and
// KIND is as above.
// It counts for the process that holds a POSIX write lock on the file
// (fcntl.lockf in Python), and as long as it does. The kernel gives the
// holder's PID in the reader's PID namespace: processes in containers need not
// know their host's PID, and a killed process frees its memory. A process
// cannot hold memory of its own that it also reads through the library,
// because a process does not see its own locks.
package fakedriver

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Env is the variable that tells the library, and test applications, where
// the state is.
const Env = "STACKMETER_FAKE_GPU"

// Version of the driver that New writes.
const Version = "550.54-FAKE"

//go:embed library/fake.c
var source []byte

//go:embed library/fakegpu.py
var python []byte

// Variants of the library.
const (
	Current = ""             // all functions
	Old     = "-DOLD_DRIVER" // nothing newer than driver 450
)

// Build compiles the library and returns its path. It skips the test where
// there is no C compiler.
func Build(tb testing.TB, variant string) string {
	tb.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		tb.Skip("the fake GPU driver needs a C compiler, called cc")
	}
	library, err := Compile(cc, tb.TempDir(), variant)
	if err != nil {
		tb.Fatal(err)
	}
	return library
}

// Compile is Build without a test around it, into a folder.
func Compile(cc, folder, variant string) (string, error) {
	c, library := filepath.Join(folder, "fake.c"), filepath.Join(folder, "libnvidia-ml.so.1")
	if err := os.WriteFile(c, source, 0o644); err != nil {
		return "", err
	}
	args := []string{"-std=gnu11", "-O1", "-Wall", "-shared", "-fPIC", "-o", library, c}
	if variant != Current {
		args = append(args, variant)
	}
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the fake driver: %w\n%s", err, out)
	}
	return library, nil
}

// A State is what the fake driver says. Change its fields and call Write.
type State struct {
	Folder  string
	Driver  string
	Devices []Device
	// Processes are written by hand; those of test applications are in the
	// folder alloc.
	Processes []Process
	// Errors are the answers of functions instead of SUCCESS.
	Errors []Error
	// Hang is how many milliseconds a function takes.
	Hang       map[string]int
	Accounting bool
	Garbage    bool
}

// A Device of a State. Sizes are bytes.
type Device struct {
	UUID                  string
	Name                  string // has to say FAKE
	Total, Reserved, Base int64
	Instance              bool // a MIG instance
	Parent                int  // of which device, by its place

	Utilization, Milliwatts, LimitMilliwatts int
	Millijoules                              int64
	SMClock, MemoryClock, Celsius            int
	Throttle                                 uint64
}

// NotAvailable is the memory of a process that the driver does not report.
const NotAvailable = -1

// A Process of a State.
type Process struct {
	Device int
	PID    uint32
	Bytes  int64
	Kind   string // c, g, m; empty: c
}

// An Error is what a function answers: a value of nvmlReturn_t.
type Error struct {
	Function string
	Return   int
}

// New makes the state of a machine with n devices of 16 GiB, idle, in a folder
// of the test's own.
func New(tb testing.TB, n int) *State {
	tb.Helper()
	s := newIn(tb.TempDir(), n)
	if err := s.Init(); err != nil {
		tb.Fatal(err)
	}
	return s
}

// newIn is New in a folder, and writes nothing yet: Init does.
func newIn(folder string, n int) *State {
	s := &State{Folder: folder, Driver: Version}
	for i := range n {
		s.Devices = append(s.Devices, Device{
			UUID: fmt.Sprintf("GPU-fa4e0000-0000-0000-0000-%012d", i), Name: "FAKE GPU (no hardware)",
			Total: 16 << 30, Reserved: 300 << 20, Base: 4 << 20,
			Utilization: 50, Milliwatts: 70000, LimitMilliwatts: 250000, Millijoules: 1000,
			SMClock: 1410, MemoryClock: 1215, Celsius: 40,
		})
	}
	return s
}

// Init makes the folders, with the Python module for test applications, and
// writes the state.
func (s *State) Init() error {
	alloc := filepath.Join(s.Folder, "alloc")
	if err := os.MkdirAll(alloc, 0o777); err != nil {
		return err
	}
	// Applications in containers may run as anybody.
	if err := os.Chmod(alloc, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(s.Folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Folder, "fakegpu.py"), python, 0o644); err != nil {
		return err
	}
	return s.Write()
}

// Write makes the state the driver's, at once: a call that is under way sees
// the state before or after, never a part of it.
func (s *State) Write() error {
	next := filepath.Join(s.Folder, "devices.next")
	if err := os.WriteFile(next, []byte(s.text()), 0o644); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(s.Folder, "devices"))
}

// text is the file devices.
func (s *State) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "driver %s\n", s.Driver)
	for i, d := range s.Devices {
		parent := -1
		if d.Instance {
			parent = d.Parent
		}
		fmt.Fprintf(&b, "device %s %d %d %d %d %s\n", d.UUID, d.Total, d.Reserved, d.Base, parent, d.Name)
		fmt.Fprintf(&b, "telemetry %d %d %d %d %d %d %d %d %d\n", i, d.Utilization, d.Milliwatts, d.LimitMilliwatts,
			d.Millijoules, d.SMClock, d.MemoryClock, d.Celsius, d.Throttle)
	}
	for _, p := range s.Processes {
		bytes, kind := fmt.Sprint(p.Bytes), p.Kind
		if p.Bytes == NotAvailable {
			bytes = "-"
		}
		if kind == "" {
			kind = "c"
		}
		fmt.Fprintf(&b, "process %d %d %s %s\n", p.Device, p.PID, bytes, kind)
	}
	for _, e := range s.Errors {
		fmt.Fprintf(&b, "error %s %d\n", e.Function, e.Return)
	}
	for f, ms := range s.Hang {
		fmt.Fprintf(&b, "hang %s %d\n", f, ms)
	}
	if s.Accounting {
		b.WriteString("accounting\n")
	}
	if s.Garbage {
		b.WriteString("garbage\n")
	}
	return b.String()
}
