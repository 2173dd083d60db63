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

	"golang.org/x/sys/unix"

	"stackmeter/stacks/cgroup"
)

// launcherMark is in the environment of a launcher. A process that has it
// starts no stacks: a program that forgot to call Launcher would otherwise
// start itself again and again.
const launcherMark = "STACKMETER_PROCESS_LAUNCHER"

// enterArgument, after LauncherArgument, makes a launcher the second step: the
// process that becomes the service.
const enterArgument = "enter"

// Files that a launcher inherits beside the standard ones.
const (
	logFD     = 3 // a supervisor's: where the service's output goes
	orderFD   = 3 // the second step's: what it has to do
	failureFD = 4 // the second step's: why it could not
)

// Launcher is the whole of a hidden process that New's runtimes start: with no
// arguments the supervisor of one service, which ends with the service and
// with stdin, or the step between it and the service's program. It works only
// when started by a Runtime.
func Launcher(args []string, stdin io.Reader, stdout io.Writer) error {
	if os.Getenv(launcherMark) == "" {
		return fmt.Errorf("%s is started by stackmeter itself and does nothing alone; use: stackmeter run --runtime %s SCENARIO", LauncherArgument, Name)
	}
	if len(args) == 1 && args[0] == enterArgument {
		return enter()
	}
	return supervise(stdin, stdout)
}

// enter enters the service's control group and becomes its program: what the
// program uses is counted and limited from its first instruction. It returns
// only when it cannot, having said why.
func enter() error {
	failure := os.NewFile(failureFD, "failure")
	unix.CloseOnExec(failureFD)
	err := become(os.NewFile(orderFD, "order"))
	fmt.Fprint(failure, err)
	failure.Close()
	return err
}

// hold holds this thread, and so the program that it becomes, to some cores.
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

func become(input *os.File) error {
	var o enterOrder
	err := json.NewDecoder(input).Decode(&o)
	input.Close()
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	if err := cgroup.Enter(o.Groups); err != nil {
		return err
	}
	if err := hold(o.Cores); err != nil {
		return err
	}
	// A program that changes to another user would lose the signal that ends
	// it with its supervisor, and could not be stopped by an ordinary one.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up gaining privileges: %w", err)
	}
	err = syscall.Exec(o.Path, o.Argv, o.Env)
	if errors.Is(err, syscall.ENOENT) {
		// The file was there when it was looked for: what is missing is named
		// in its first line.
		return fmt.Errorf("%s: the interpreter that it names is not there", o.Path)
	}
	return fmt.Errorf("%s: %w", o.Path, err)
}
