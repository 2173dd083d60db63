package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"stackmeter/stacks"
)

// executor runs a command in a container.
func (r *Runtime) executor(pod, container string, stdin bool, argv []string) (remotecommand.Executor, error) {
	url := r.api.CoreV1().RESTClient().Post().Resource("pods").Namespace(r.namespace).Name(pod).SubResource("exec").
		VersionedParams(&core.PodExecOptions{Container: container, Command: argv, Stdin: stdin, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	older, err := remotecommand.NewSPDYExecutor(r.config, http.MethodPost, url)
	if err != nil {
		return nil, err
	}
	newer, err := remotecommand.NewWebSocketExecutor(r.config, http.MethodGet, url.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(newer, older, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// Exec implements stacks.Stack.
func (st *stack) Exec(ctx context.Context, name string, argv ...string) ([]byte, error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return nil, err
	}
	out, err := st.runtime.exec(ctx, st.objects.pod.Name, st.containerName(i), argv)
	var status exec.CodeExitError
	var short cutShort
	switch {
	case errors.As(err, &short):
		st.endExec(i, argv)
		return out, fmt.Errorf("run %s in service %s: %w", argv[0], name, short.error)
	case errors.As(err, &status):
		return out, stacks.ExecFailed(argv[0], name, status.Code, out)
	case err != nil:
		return out, st.runtime.explained(fmt.Sprintf("run %s in service %s", argv[0], name), err)
	}
	return out, nil
}

// Stream implements stacks.Streamer.
func (st *stack) Stream(ctx context.Context, name string, argv ...string) (io.ReadCloser, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	i, err := st.spec.Index(name)
	if err != nil {
		return nil, err
	}
	return st.runtime.stream(st.objects.pod.Name, st.containerName(i), argv)
}

// cutShort is why a command was given up.
type cutShort struct{ error }

// exec runs a command in a container and returns both its outputs together.
func (r *Runtime) exec(ctx context.Context, pod, container string, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.limits.call)
	defer cancel()
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	run, err := r.executor(pod, container, false, argv)
	if err != nil {
		return nil, err
	}
	out := bounded{Output: stacks.Output{Full: give}}
	err = run.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &out})
	if ctx.Err() != nil {
		err = cutShort{context.Cause(ctx)}
	}
	return out.Bytes(), err
}

// bounded takes all that comes and keeps what fits: both streams are written to it, by
// one goroutine each.
type bounded struct {
	lock
	stacks.Output
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	_, _ = b.Output.Write(p) // it has called Full
	return len(p), nil
}

// Bytes returns what has come until now: the goroutines of a command that was given up
// may still write.
func (b *bounded) Bytes() []byte {
	b.Lock()
	defer b.Unlock()
	return slices.Clone(b.Output.Bytes())
}

// Dial implements stacks.Stack. The connection begins in the proxy's container, where
// the services of the stack can be reached.
func (st *stack) Dial(ctx context.Context, name string) (net.Conn, error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return nil, err
	}
	to := "TCP:127.0.0.1:" + strconv.Itoa(st.sites[i].Listen.Port)
	if s := st.spec.Services[i]; s.Unix {
		to = "UNIX-CONNECT:" + s.SocketPath()
	}
	return st.runtime.stream(st.objects.pod.Name, st.containerName(len(st.services)-1), []string{"socat", "-", to})
}

// A stream is the standard input and output of a command in a container. It can be used as
// a connection, except that it keeps no deadlines.
type stream struct {
	*io.PipeReader
	*io.PipeWriter
	cancel context.CancelFunc
}

// stream runs a command in a container of a Pod, until it is closed. Its reader gets the
// reason why the command could not run, or ended.
func (r *Runtime) stream(pod, container string, argv []string) (*stream, error) {
	run, err := r.executor(pod, container, true, argv)
	if err != nil {
		return nil, fmt.Errorf("run %s in Pod %s: %w", argv[0], pod, err)
	}
	stdin, write := io.Pipe()
	read, stdout := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		var stderr bounded
		err := run.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: &stderr})
		var status exec.CodeExitError
		switch {
		case errors.As(err, &status):
			err = stacks.ExecFailed(argv[0], pod, status.Code, stderr.Bytes())
		case err != nil:
			err = r.explained(fmt.Sprintf("run %s in Pod %s", argv[0], pod), err)
		default:
			err = io.EOF
		}
		stdout.CloseWithError(err)
		stdin.CloseWithError(err)
	}()
	return &stream{read, write, cancel}, nil
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.cancel()
	return errors.Join(s.PipeReader.Close(), s.PipeWriter.Close())
}

// LocalAddr implements net.Conn.
func (s *stream) LocalAddr() net.Addr { return streamAddr{} }

// RemoteAddr implements net.Conn.
func (s *stream) RemoteAddr() net.Addr { return streamAddr{} }

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (s *stream) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// streamAddr is the address of a stream's ends, which have none.
type streamAddr struct{}

func (streamAddr) Network() string { return "exec" }
func (streamAddr) String() string  { return "a command in a Pod" }

// Listening implements stacks.Stack. The sockets are those of the whole Pod. Where its
// processes are this machine's, it is seen whose they are; elsewhere those are left out
// on which other services are to listen.
func (st *stack) Listening(ctx context.Context, name string) (asked netip.AddrPort, listens []netip.AddrPort, err error) {
	i, err := st.spec.Index(name)
	if err != nil {
		return asked, nil, err
	}
	asked = st.asked(i)
	sockets, known := st.ownSockets(i)
	if !known {
		tables, err := st.Exec(ctx, name, "cat", "/proc/net/tcp", "/proc/net/tcp6")
		if err != nil && len(tables) == 0 {
			return asked, nil, err
		}
		for _, s := range stacks.ParseSockets(string(tables)) {
			others := false
			for j := range st.sites {
				others = others || j != i && st.sites[j].Listen.Port == int(s.Address.Port())
			}
			if !others {
				sockets = append(sockets, s.Address)
			}
		}
	}
	// What listens on :: takes IPv4 too, or does not.
	if any := netip.AddrPortFrom(netip.IPv6Unspecified(), asked.Port()); slices.Contains(sockets, any) && !st.refused(ctx, int(asked.Port())) {
		sockets = append(sockets, asked)
	}
	return asked, sockets, nil
}

// asked is where a service has to listen.
func (st *stack) asked(i int) netip.AddrPort {
	host, port := netip.IPv4Unspecified(), uint16(st.sites[i].Listen.Port)
	if i < len(st.sites)-1 {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(host, port)
}

// shown is a command line as /proc shows it.
func shown(argv []string) string { return strings.Join(argv, " ") }
