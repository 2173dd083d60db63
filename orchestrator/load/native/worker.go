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

// WorkerArgument is the hidden subcommand that a client process is started
// with when Client.Command is empty.
const WorkerArgument = "load-worker"

// workerMark is set in the environment of a client process. A process that
// has it starts no clients of its own: a program that forgot to call Worker
// would otherwise start itself again and again.
const workerMark = "STACKMETER_LOAD_WORKER"

// Files that a client process inherits beside the standard ones.
const (
	arenaFD = 3 // the arena: requests and counters
	gunFD   = 4 // a pipe whose end is the starting gun
)

// workerGC is the garbage collector's target in a client process: little is
// allocated, and a larger heap of a few megabytes means fewer pauses.
const workerGC = 400

// A message is what a client process says on its standard output: first that
// it is ready, then its tally.
type message struct {
	Ready      bool     `json:",omitempty"`
	Tally      *tally   `json:",omitempty"`
	Histograms [][]byte `json:",omitempty"` // the tally's
}

// Worker is the whole of a client process: it reads its task from stdin,
// prepares, says on stdout that it is ready, waits for the gun, sends its
// requests and writes its tally to stdout. The end of stdin stops it, so that
// it never outlives the process that started it. It works only when started by
// a Client.
func Worker(stdin io.Reader, stdout io.Writer) error {
	if os.Getenv(workerMark) == "" {
		return fmt.Errorf("%s is started by stackmeter itself and does nothing alone; use: stackmeter load URL", WorkerArgument)
	}
	debug.SetGCPercent(workerGC)
	input := json.NewDecoder(stdin)
	var o task
	if err := input.Decode(&o); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	if err := pin(o.Cores); err != nil {
		return err
	}
	a, err := openArena(os.NewFile(arenaFD, "arena"), o.Processes, o.Requests)
	if err != nil {
		return err
	}
	defer a.close()
	e, err := newEngine(o, a)
	if err != nil {
		return err
	}
	// One plain read waits for the gun: no scheduler stands between it and the
	// first request.
	if err := unix.SetNonblock(gunFD, false); err != nil {
		return fmt.Errorf("prepare the starting gun: %w", err)
	}
	runtime.GC()
	output := json.NewEncoder(stdout)
	if err := output.Encode(message{Ready: true}); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	go func() {
		// Nothing more comes on stdin; its end stops the engine.
		_, _ = io.Copy(io.Discard, stdin)
		e.stop()
	}()
	fired, err := awaitGun(a)
	if err != nil {
		return err
	}
	a.begun().Add(1)
	r, err := e.run(fired)
	if err != nil {
		return err
	}
	awaitOthers(a, o.Processes)
	all, err := r.Histograms.Marshal()
	if err != nil {
		return err
	}
	if err := output.Encode(message{Tally: &r, Histograms: all}); err != nil {
		return fmt.Errorf("write the tally: %w", err)
	}
	return nil
}

// awaitOthers returns when all processes have begun, or soon. A process whose
// requests are done has its tally to write, which takes more CPU time than they
// did. It would hold up the processes that have not run yet since the gun.
func awaitOthers(a *arena, processes int) {
	const step = time.Millisecond
	for waited := time.Duration(0); a.begun().Load() < int64(processes) && waited < 50*step; waited += step {
		time.Sleep(step)
	}
}

// awaitGun returns when the batch is fired, with the moment at which it was.
func awaitGun(a *arena) (instant, error) {
	var nothing [1]byte
	for {
		_, err := unix.Read(gunFD, nothing[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for the starting gun: %w", err)
		}
		break
	}
	fired := instant(a.gun().Load())
	if fired == 0 {
		return 0, errors.New("the batch was closed before it was fired")
	}
	return fired, nil
}
