//go:build linux

package native

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// WorkerArgument is the hidden subcommand of a client process.
const WorkerArgument = "load-worker"

// workerMark is set in the environment of a client process. A process that has it
// starts no clients: a program that forgot to call Worker would start itself again
// and again.
const workerMark = "STACKMETER_LOAD_WORKER"

// Files that a client process inherits beside the standard ones.
const (
	arenaFD = 3 // the arena: requests and counters
	gunFD   = 4 // a pipe whose end of file is the starting gun
)

// workerGC is the garbage collector's target in a client process (see GOGC). The
// process allocates little, and a larger heap of a few megabytes means fewer pauses.
const workerGC = 400

// A message is what a client process writes to its standard output: first that it is
// ready, then its tally.
type message struct {
	Ready bool   `json:",omitempty"`
	Tally *tally `json:",omitempty"`
}

// Worker is the whole of a client process. It reads its task from stdin, prepares,
// says on stdout that it is ready, waits for the gun, sends its requests and writes
// its tally to stdout. The end of stdin stops it, so it never outlives the process
// that started it. Only a Client can start it.
func Worker(stdin io.Reader, stdout io.Writer) error {
	if os.Getenv(workerMark) == "" {
		return fmt.Errorf("%s is started by stackmeter itself and does nothing alone; use: stackmeter load URL", WorkerArgument)
	}
	debug.SetGCPercent(workerGC)
	input := json.NewDecoder(stdin)
	var t task
	if err := input.Decode(&t); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	if err := pin(t.Job.Cores); err != nil {
		return err
	}
	a, err := openArena(os.NewFile(arenaFD, "arena"), t.Processes, t.Requests)
	if err != nil {
		return err
	}
	defer a.close()
	e, err := newEngine(t, a)
	if err != nil {
		return err
	}
	// A plain blocking read waits for the gun, so that no scheduler comes between it
	// and the first request.
	if err := unix.SetNonblock(gunFD, false); err != nil {
		return fmt.Errorf("prepare the starting gun: %w", err)
	}
	runtime.GC()
	output := json.NewEncoder(stdout)
	if err := output.Encode(message{Ready: true}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	go func() {
		// Nothing more comes on stdin, and its end stops the engine.
		_, _ = io.Copy(io.Discard, stdin)
		e.stop()
	}()
	fired, err := awaitGun(a)
	if err != nil {
		return err
	}
	a.signals.begun.Add(1)
	tally, err := e.run(fired)
	if err != nil {
		return err
	}
	awaitOthers(a)
	if err := output.Encode(message{Tally: tally}); err != nil {
		return fmt.Errorf("write the tally: %w", err)
	}
	return nil
}

// awaitOthers returns when all processes have begun, or after 50 ms. Writing a tally
// may take more CPU time than the requests did, and would hold up the processes that
// have not run yet since the gun.
func awaitOthers(a *arena) {
	const step = time.Millisecond
	for waited := time.Duration(0); int(a.signals.begun.Load()) < len(a.counters) && waited < 50*step; waited += step {
		time.Sleep(step)
	}
}

// awaitGun waits until the batch is fired and returns the moment at which it was.
func awaitGun(a *arena) (instant, error) {
	var nothing [1]byte
	err := error(unix.EINTR)
	for err == unix.EINTR {
		_, err = unix.Read(gunFD, nothing[:])
	}
	if err != nil {
		return 0, fmt.Errorf("wait for the starting gun: %w", err)
	}
	fired := instant(a.signals.gun.Load())
	if fired == 0 {
		return 0, errors.New("the batch was closed before it was fired")
	}
	return fired, nil
}
