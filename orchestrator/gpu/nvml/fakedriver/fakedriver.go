// Package fakedriver builds and drives a FAKE NVIDIA driver for tests on machines
// without a GPU: a libnvidia-ml.so.1 in C, whose state is a folder. Only the
// device is fake. The library is loaded and called through cgo; processes and
// containers are real. Its devices' names and its version say FAKE, and a flag
// marks every result made with it.
//
// # The state
//
// The environment variable STACKMETER_FAKE_GPU names the folder to the library,
// which reads the folder at each call. Its file devices has these lines:
//
//	driver VERSION
//	device UUID TOTAL RESERVED BASE PARENT NAME…   bytes; BASE is in use without a process; PARENT -1, or the line number of the GPU that this is a MIG instance of
//	process DEVICE PID BYTES KIND                  a process by hand; BYTES - is NOT_AVAILABLE; KIND c, g or m (compute, graphics, MPS)
//	telemetry DEVICE UTILIZATION MW MW-LIMIT MJ SM-MHZ MEMORY-MHZ CELSIUS THROTTLE-BITS
//	error FUNCTION RETURN [DEVICE]                 what the function answers (nvmlReturn_t); names of lists, init and count without their version; * is every function about DEVICE
//	hang FUNCTION MILLISECONDS
//	busy DEVICE PID PERCENT STAMP                  a sample of what a process computes; STAMP in microseconds
//	accounting                                     accounting mode is on
//	garbage                                        process lists are laid out as by drivers 535.43 to 535.86
//
// Every file in the folder alloc is what one process holds, in lines of
//
//	DEVICE BYTES [PEAK [KIND]]
//
// where DEVICE is a UUID or a line number, PEAK is what accounting keeps, and
// KIND is as above. The memory belongs to the process that holds a POSIX write
// lock on the file (fcntl.lockf in Python), for as long as it does. The kernel
// reports the holder's PID in the reader's PID namespace: a process in a container
// need not know its PID on the host, and a killed process frees its memory. A
// process that reads through the library cannot hold memory itself, because it
// does not see its own locks.
package fakedriver

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Env is the environment variable that tells the library and test applications
// where the state is.
const Env = "STACKMETER_FAKE_GPU"

// Version is the driver's version in the states that New makes.
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

// Build compiles the library and returns its path. It skips the test if there is
// no C compiler.
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

// Compile compiles the library into a folder and returns its path.
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

// A State is what the fake driver answers. Change its fields and call Write.
type State struct {
	Folder     string
	Driver     string // its version
	Devices    []Device
	Processes  []Process      // that the test makes up; test applications are in the folder alloc
	Errors     []Error        // what functions answer instead of SUCCESS
	Hang       map[string]int // milliseconds that a function takes
	Busy       []Busy         // samples of what processes compute
	Accounting bool           // it keeps account of each process's most memory
	Garbage    bool           // its process lists are laid out as by drivers 535.43 to 535.86
}

// A Device of a State. Sizes are bytes.
type Device struct {
	UUID                  string
	Name                  string // has to say FAKE
	Total, Reserved, Base int64
	Instance              bool // a MIG instance
	Parent                int  // index of the device that it is part of
	Lost                  bool // every function about it answers GPU_IS_LOST

	Utilization, Milliwatts, LimitMilliwatts int
	Millijoules                              int64
	SMClock, MemoryClock, Celsius            int
	Throttle                                 uint64
}

// gpuIsLost is the nvmlReturn_t of a device that has fallen off its bus.
const gpuIsLost = 15

// NotAvailable is the memory of a process that the driver does not report.
const NotAvailable = -1

// A Process of a State.
type Process struct {
	Device int
	PID    uint32
	Bytes  int64
	Kind   string // c, g or m; empty: c
}

// A Busy is a sample of what a process of a State computes.
type Busy struct {
	Device       int
	PID          uint32
	Percent      int
	Microseconds uint64 // when it was taken
}

// An Error is what a function answers: a value of nvmlReturn_t.
type Error struct {
	Function string
	Return   int
}

// New makes the state of a machine with n idle devices of 16 GiB, in a folder of
// the test. In the folder is also the Python module for test applications.
func New(tb testing.TB, n int) *State {
	tb.Helper()
	s := &State{Folder: tb.TempDir(), Driver: Version}
	for i := range n {
		s.Devices = append(s.Devices, Device{
			UUID: fmt.Sprintf("GPU-fa4e0000-0000-0000-0000-%012d", i), Name: "FAKE GPU (no hardware)",
			Total: 16 << 30, Reserved: 300 << 20, Base: 4 << 20,
			Utilization: 50, Milliwatts: 70000, LimitMilliwatts: 250000, Millijoules: 1000,
			SMClock: 1410, MemoryClock: 1215, Celsius: 40,
		})
	}
	alloc := filepath.Join(s.Folder, "alloc")
	err := errors.Join(
		os.Mkdir(alloc, 0o777),
		os.Chmod(alloc, 0o777), // applications in containers may run as any user
		os.Chmod(s.Folder, 0o755),
		os.WriteFile(filepath.Join(s.Folder, "fakegpu.py"), python, 0o644),
		s.Write())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Write makes this the driver's state in one step: a call sees the state before or
// after, never a mixture.
func (s *State) Write() error {
	next := filepath.Join(s.Folder, "devices.next")
	if err := os.WriteFile(next, []byte(s.text()), 0o644); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(s.Folder, "devices"))
}

// text is the content of the file devices.
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
		if d.Lost {
			fmt.Fprintf(&b, "error * %d %d\n", gpuIsLost, i)
		}
	}
	for _, p := range s.Processes {
		bytes := fmt.Sprint(p.Bytes)
		if p.Bytes == NotAvailable {
			bytes = "-"
		}
		fmt.Fprintf(&b, "process %d %d %s %s\n", p.Device, p.PID, bytes, cmp.Or(p.Kind, "c"))
	}
	for _, e := range s.Errors {
		fmt.Fprintf(&b, "error %s %d\n", e.Function, e.Return)
	}
	for f, ms := range s.Hang {
		fmt.Fprintf(&b, "hang %s %d\n", f, ms)
	}
	for _, p := range s.Busy {
		fmt.Fprintf(&b, "busy %d %d %d %d\n", p.Device, p.PID, p.Percent, p.Microseconds)
	}
	if s.Accounting {
		b.WriteString("accounting\n")
	}
	if s.Garbage {
		b.WriteString("garbage\n")
	}
	return b.String()
}
