//go:build linux

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/scenarios/container"
	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

// launcherMark is in the environment of a launcher. A process that has it starts
// no stacks. Otherwise a program that forgot to call Launcher would start itself
// again and again.
const launcherMark = "STACKMETER_PROCESS_LAUNCHER"

// enterArgument, behind LauncherArgument, makes a launcher the second step: the
// process that becomes the service.
const enterArgument = "enter"

// Files that a launcher inherits beside the standard ones.
const (
	logFD     = 3 // a supervisor's: where the service's output goes
	failureFD = 3 // the second step's: why it failed
)

// Launcher is the main function of the hidden processes that a Runtime starts.
// Without arguments it is the supervisor of one service and ends with the service
// or with stdin. With enterArgument it is the step between the supervisor and the
// service's program. It works only when a Runtime starts it.
func Launcher(args []string, stdin io.Reader, stdout io.Writer) error {
	if os.Getenv(launcherMark) == "" {
		return fmt.Errorf("%s is started by stackmeter itself and does nothing alone; use: stackmeter run --runtime %s SCENARIO", LauncherArgument, Name)
	}
	if len(args) == 1 && args[0] == enterArgument {
		return enter(stdin)
	}
	return supervise(stdin, stdout)
}

// enter enters the service's control group and becomes the service's program:
// whatever the program uses is counted and limited from its first instruction.
// It returns only on failure, after it has reported why.
func enter(stdin io.Reader) error {
	failure := os.NewFile(failureFD, "failure")
	unix.CloseOnExec(failureFD)
	err := become(stdin)
	fmt.Fprint(failure, err)
	failure.Close()
	return err
}

// hold restricts this thread, and so the program that it becomes, to some cores.
func hold(cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	runtime.LockOSThread() // for good: the program follows
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("resources.cpuset: hold the service to the cores %v: %w; are they there, and may this process use them?", cores, err)
	}
	return nil
}

// bound sets the limits of this process, and so of the program that it becomes: those
// of the scenario, and the size of a file that none exceeds.
func bound(limits map[string]container.Ulimit) error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &files); err != nil {
		return err
	}
	files.Max = min(files.Max, stacks.FileLimit)
	files.Cur = min(files.Cur, files.Max)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &files); err != nil {
		return fmt.Errorf("limit the size of a file: %w", err)
	}
	for name, limit := range limits { // -1 is the kernel's RLIM_INFINITY
		if err := unix.Setrlimit(resources[name], &unix.Rlimit{Cur: uint64(limit.Soft), Max: uint64(limit.Hard)}); err != nil {
			return fmt.Errorf("ulimits.%s: %w", name, err)
		}
	}
	return nil
}

func become(stdin io.Reader) error {
	var o enterTask
	if err := json.NewDecoder(stdin).Decode(&o); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	null, err := os.Open(os.DevNull)
	if err == nil {
		err = unix.Dup3(int(null.Fd()), 0, 0) // what the program reads
	}
	if err != nil {
		return err
	}
	if err := cgroup.Enter(o.Groups); err != nil {
		return err
	}
	if err := hold(o.Cores); err != nil {
		return err
	}
	if err := bound(o.Ulimits); err != nil {
		return err
	}
	// A program that changed to another user would lose the signal that ends it
	// with its supervisor, and an ordinary user could not stop it.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up gaining privileges: %w", err)
	}
	err = syscall.Exec(o.Path, o.Argv, o.Env)
	if errors.Is(err, syscall.ENOENT) {
		// The file was found before. What is missing is the interpreter in its
		// first line.
		return fmt.Errorf("%s: the interpreter that it names is not there", o.Path)
	}
	return fmt.Errorf("%s: %w", o.Path, err)
}

// A task is what a supervisor reads from its standard input. The end of that
// input tells it to stop.
type task struct {
	Record  record
	File    string          // of the record
	Groups  []cgroup.Folder // to make; Record.Groups are their paths
	Files   []file          // to write below Record.Temp
	Cores   []int           // that the program may use; empty: all
	Ulimits map[string]container.Ulimit
	PIDs    int   // most processes and threads
	Written int64 // bytes that the service may write to disks
	program
}

// A program is what a service executes.
type program struct {
	Path string // of the executable
	Argv []string
	Env  []string
}

// A file is something that the service reads.
type file struct{ Path, Text string }

// An enterTask tells the second step of the launcher which groups to enter before
// it becomes the program, and which cores and limits the program has.
type enterTask struct {
	Groups  []string
	Cores   []int // empty: all
	Ulimits map[string]container.Ulimit
	program
}

// An event is a line on a supervisor's standard output: first Started or Failed,
// then Ended if the service ends by itself.
type event struct {
	Started *identity `json:",omitempty"` // the program runs
	Failed  string    `json:",omitempty"` // why it does not
	Ended   *ending   `json:",omitempty"` // the first process ended, and the others with it
}

// An ending is how a service's first process ended.
type ending struct {
	At       time.Time
	Status   int    // exit status, or 128 and the number of the signal
	OOMKills int    // processes of the service that the kernel killed for memory
	Excess   string // of what the supervisor ended it for; may be empty
}
