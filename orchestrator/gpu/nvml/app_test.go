//go:build linux && cgo

package nvml

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu/nvml/fakedriver"
)

// The test's own program is also the application that holds memory on the
// fake device, and the process for what needs another library.
const (
	appEnv     = "STACKMETER_TEST_APP"     // the state's folder
	variantEnv = "STACKMETER_TEST_VARIANT" // of the library
)

// library is the fake one that this process uses; a process has only one.
var library string

func TestMain(m *testing.M) {
	if folder := os.Getenv(appEnv); folder != "" {
		if err := app(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runTests(m))
}

// runTests builds the library and runs the tests.
func runTests(m *testing.M) int {
	folder, err := os.MkdirTemp("", "fakedriver")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	if cc, err := exec.LookPath("cc"); err == nil {
		if library, err = fakedriver.Compile(cc, folder, os.Getenv(variantEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// app holds the memory that its input says, a line for each order:
//
//	DEVICE BYTES               hold that much and answer
//	DEVICE BYTES for DURATION  hold it for so long, then what was held before, and answer
func app(folder string) error {
	held := map[string]*memory{}
	before := map[string]int64{}
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for in.Scan() {
		f := strings.Fields(in.Text())
		bytes, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return err
		}
		m := held[f[0]]
		if m == nil {
			if m, err = hold(folder, f[0]); err != nil {
				return err
			}
			held[f[0]] = m
		}
		if err := m.allocate(bytes); err != nil {
			return err
		}
		if len(f) == 4 {
			d, err := time.ParseDuration(f[3])
			if err != nil {
				return err
			}
			time.Sleep(d) // the length of a spike is what is tested, not waited for
			bytes = before[f[0]]
			if err := m.allocate(bytes); err != nil {
				return err
			}
		}
		before[f[0]] = bytes
		fmt.Println("done")
	}
	return in.Err()
}

// memory is what this process holds on a device of the fake driver.
type memory struct {
	file   *os.File
	device string
	peak   int64
}

// hold begins to hold memory on a device, given by UUID or index, of the state in
// folder.
func hold(folder, device string) (*memory, error) {
	f, err := os.CreateTemp(filepath.Join(folder, "alloc"), "hold")
	if err != nil {
		return nil, err
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return &memory{file: f, device: device}, nil
}

// allocate sets how many bytes the process holds.
func (m *memory) allocate(total int64) error {
	m.peak = max(m.peak, total)
	// One write of fixed width, so that a reader never sees half of it.
	_, err := fmt.Fprintf(io.NewOffsetWriter(m.file, 0), "%s %20d %20d\n", m.device, total, m.peak)
	return err
}

// A worker is a running application.
type worker struct {
	tb  testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// newWorker starts an application. It ends with the test.
func newWorker(tb testing.TB, s *fakedriver.State) *worker {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), appEnv+"="+s.Folder)
	return startWorker(tb, cmd)
}

// startWorker starts a command that is, or starts, an application.
func startWorker(tb testing.TB, cmd *exec.Cmd) *worker {
	tb.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	w := &worker{tb, cmd, in, bufio.NewReader(out)}
	tb.Cleanup(func() {
		w.end()
		if stderr.Len() > 0 {
			tb.Error(stderr.String())
		}
	})
	w.expect("ready")
	return w
}

// hold has the application hold memory; extra may say for how long.
func (w *worker) hold(device int, bytes int64, extra string) {
	w.tb.Helper()
	fmt.Fprintf(w.in, "%d %d %s\n", device, bytes, extra)
	w.expect("done")
}

// expect reads one line of the application's.
func (w *worker) expect(want string) {
	w.tb.Helper()
	line, err := w.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		w.tb.Fatalf("application %d said %q (%v), not %q", w.cmd.Process.Pid, line, err, want)
	}
}

// pid is the application's.
func (w *worker) pid() int { return w.cmd.Process.Pid }

// end ends the application, and returns when it is gone.
func (w *worker) end() {
	w.in.Close()
	w.cmd.Wait()
}

// saturate has a process compute until the benchmark ends.
func saturate(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}
