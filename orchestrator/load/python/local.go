package python

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/show"
)

// Local starts the program as a process of this machine.
type Local struct {
	// Python is the interpreter: a path, or a name on the PATH; python3 when
	// empty. It needs the module requests.
	Python string
}

// Image implements Launcher. There is no image.
func (Local) Image(context.Context, func(string)) (string, error) { return "", nil }

// Launch implements Launcher.
func (l Local) Launch(_ context.Context, url string) (Process, error) {
	interpreter := cmp.Or(l.Python, "python3")
	argv := Argv(interpreter)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	// No setting of the user, such as a proxy or .netrc, may change what is sent.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LANG=C.UTF-8"}
	// A group of its own: Ctrl-C in a terminal reaches stackmeter alone, and the
	// pool's processes can be killed together.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &localProcess{url: url, cmd: cmd}
	cmd.Stderr = &p.lastWords
	cmd.WaitDelay = stopGrace // in case another process holds its standard error open
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the Python client: %w", err)
	}
	if p.stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("start the Python client: %w", err)
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("start the Python client: %w; install Python with requests (Debian: apt-get install python3-requests)", err)
		}
		return nil, fmt.Errorf("start the Python client: %w", err)
	}
	return p, nil
}

// A localProcess is the program as a process of this machine.
type localProcess struct {
	url       string
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	stdout    io.ReadCloser
	lastWords show.Tail

	mu     sync.Mutex // guards what follows
	gone   bool       // it was waited for, and its id may belong to another process
	killed bool       // by Kill
}

func (p *localProcess) URL() string                 { return p.url }
func (p *localProcess) Write(b []byte) (int, error) { return p.stdin.Write(b) }
func (p *localProcess) CloseWrite() error           { return p.stdin.Close() }
func (p *localProcess) Read(b []byte) (int, error)  { return p.stdout.Read(b) }

func (p *localProcess) Wait() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	p.gone = true
	killed := p.killed
	p.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case !killed && load.EndedFromOutside(err):
		return fmt.Errorf("the Python client %w: %w", load.ErrDisturbed, err)
	}
	err = fmt.Errorf("the Python client ended: %w", err)
	if said := p.lastWords.String(); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// Kill kills the whole group: the program and its pool.
func (p *localProcess) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		p.killed = true
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}
