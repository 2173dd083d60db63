package stacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"stackmeter/scenarios/ready"
)

const (
	probeAgent    = "stackmeter-probe"
	probeTimeout  = 10 * time.Second // of one probe; a model that warms up may be slow to answer
	probeFirst    = 5 * time.Millisecond
	probeSlowest  = 100 * time.Millisecond
	checkInterval = 200 * time.Millisecond
)

// ErrReadyPath marks an error of WaitReady that tells of an app which answers, but
// refuses the ready path. Waiting longer, or another way of serving it, would not
// help.
var ErrReadyPath = errors.New("app.ready.path has to be answered with")

// WaitReady returns nil once the spec's probe was answered through the whole stack,
// not by way of a redirect, and by each of its replicas, while every service ran. It
// fails at once when a service
// ends, or with ErrElsewhere when what answers does not speak HTTP, and soon with
// ErrElsewhere when one listens where nothing reaches it. After the ready time-out it
// fails with the last probe's error, and with ErrReadyPath if the app refused its
// request. Without a probe it asks nothing. Where the logs show that a service lacks
// something, the error says how to get it.
func WaitReady(ctx context.Context, spec Spec, stack Stack) error {
	err := waitReady(ctx, spec, stack)
	if err == nil || ctx.Err() != nil || !slices.ContainsFunc(spec.Services, func(s Service) bool { return len(s.Needs) > 0 }) {
		return err
	}
	var logs strings.Builder
	if stack.Logs(ctx, &logs) != nil {
		return err
	}
	for _, s := range spec.Services {
		for _, need := range s.Needs {
			if strings.Contains(logs.String(), need.Sign) {
				err = fmt.Errorf("%w; where service %s runs, %s is missing: apt-get install %s", err, s.Name, need.Name, need.Debian)
			}
		}
	}
	return err
}

func waitReady(ctx context.Context, spec Spec, stack Stack) error {
	if spec.Ready.None() {
		return stack.Check(ctx)
	}
	late := fmt.Errorf("not ready after %v (app.ready.timeout)", spec.Ready.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, spec.Ready.Timeout, late)
	defer cancel()
	ctx, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	// A probe may hang at an address where nobody is left. The watch for services
	// that end runs beside it.
	var watching sync.WaitGroup
	defer watching.Wait()
	defer ended(nil)
	watching.Go(func() { watchServices(ctx, stack, ended) })
	watching.Go(func() { watchSockets(ctx, spec, stack, ended) })

	asks, err := probes(ctx, spec, stack)
	if err != nil {
		return err
	}
	began := time.Now()
	var last error
	for {
		failed, never := askOnce(ctx, asks[0])
		// The dialer keeps the deadline by a timer of its own, which may be first. The
		// probe before then says more.
		if deadline, bound := ctx.Deadline(); failed == nil || last == nil || ctx.Err() == nil && !(bound && time.Now().After(deadline)) {
			last = failed
		}
		switch {
		case last == nil:
			if asks = asks[1:]; len(asks) == 0 {
				return stack.Check(ctx)
			}
			continue
		case never != nil:
			return never
		}
		select {
		case <-ctx.Done():
			cause := context.Cause(ctx)
			if errors.Is(cause, late) {
				look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookFirst)
				defer cancel()
				if where, _ := misplaced(look, spec, stack); where != "" {
					cause = fmt.Errorf("%w: %s", cause, where)
				}
			}
			if errors.Is(last, context.Cause(ctx)) { // it was given up, and says no more
				return cause
			}
			return fmt.Errorf("%w; the last probe said: %w", cause, last)
		case <-time.After(probePause(time.Since(began))):
		}
	}
}

// A probe asks once. failed is why the stack is not ready, nil if it is. never is why
// waiting would not help, nil if it may.
type probe func(ctx context.Context) (failed, never error)

// askOnce gives a probe its time-out.
func askOnce(ctx context.Context, ask probe) (failed, never error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, fmt.Errorf("no answer within %v", probeTimeout))
	defer cancel()
	return ask(ctx)
}

// probes returns what the spec asks for, one after the other. They are used until ctx
// ends.
func probes(ctx context.Context, spec Spec, stack Stack) (all []probe, err error) {
	answering := spec.Answering()
	for _, name := range answering {
		switch {
		case len(spec.Ready.Command) > 0:
			// The address stays; where the service listens by now is nothing to it.
			asked, _, _ := stack.Listening(ctx, name)
			argv := Service{Command: spec.Ready.Command}.Argv(Site{Listen: Address{Host: asked.Addr().String(), Port: int(asked.Port())}})
			all = append(all, func(ctx context.Context) (failed, never error) { return command(ctx, stack, name, argv) })
		case spec.Ready.TCP:
			all = append(all, func(ctx context.Context) (failed, never error) {
				return connects(ctx, stack, name, spec.Entry().Name), nil
			})
		case len(answering) > 1:
			// The proxy answers as soon as one of them does.
			all = append(all, replica(ctx, spec, stack, name))
		}
	}
	if len(spec.Ready.Command) > 0 || spec.Ready.TCP {
		return all, nil
	}
	entry, err := requests(ctx, spec, stack)
	return append([]probe{entry}, all...), err
}

// command runs the probe's command in the service that has to answer. A program that
// is not there will not come.
func command(ctx context.Context, stack Stack, service string, argv []string) (failed, never error) {
	_, err := stack.Exec(ctx, service, argv...)
	if err == nil {
		return nil, nil
	}
	failed = fmt.Errorf("app.ready.command: %w", err)
	if strings.Contains(err.Error(), "executable file not found") {
		never = failed
	}
	return failed, never
}

// connects makes a TCP connection. A proxy takes one, and so does the engine's for a
// port that it publishes, whether the service behind it listens or not: its sockets and
// those of the entry are looked at, too, where that can be done.
func connects(ctx context.Context, stack Stack, service, entry string) error {
	at, err := url.Parse(stack.URL())
	if err != nil {
		return err
	}
	conn, err := dialEntry(ctx, stack, at.Host)
	if err != nil {
		return err
	}
	conn.Close()
	for _, name := range slices.Compact([]string{entry, service}) {
		if asked, listens, err := stack.Listening(ctx, name); err == nil && len(listens) == 0 {
			return fmt.Errorf("service %s does not listen on %v yet", name, asked)
		}
	}
	if where, _ := elsewhere(ctx, stack, service); where != "" {
		return errors.New(where)
	}
	return nil
}

// An entrance is a stack whose entry is reached from where its client is, which need not
// be here.
type entrance interface {
	// DialEntry connects to the entry service as the client does.
	DialEntry(ctx context.Context) (net.Conn, error)
}

// dialEntry connects to the entry service of a stack, whose address is that of its URL.
func dialEntry(ctx context.Context, stack Stack, address string) (net.Conn, error) {
	if own, is := stack.(entrance); is {
		return own.DialEntry(ctx)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// requests returns a probe that sends the spec's request.
//
// Each probe makes its own connection: one in the backlog of a server that is still
// starting must not decide about the next. None outlives the wait: a transport keeps
// dialling for a request that was given up, and the address may be another stack's by
// then.
func requests(wait context.Context, spec Spec, stack Stack) (probe, error) {
	var first *firstBytes // of this probe
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		heard := first
		conn, err := dialEntry(wait, stack, address)
		return heardConn{conn, heard}, err
	}}
	if spec.TLS != nil {
		config, err := spec.TLS.Config()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	return func(ctx context.Context) (failed, never error) {
		first = new(firstBytes)
		if failed = request(ctx, transport, spec.Ready, stack.URL()+spec.Ready.Path); failed != nil {
			never = first.otherProtocol(ctx, spec, stack, failed)
		}
		return failed, never
	}, nil
}

// replica returns a probe that sends the spec's request to one of the services behind
// the proxy.
func replica(wait context.Context, spec Spec, stack Stack, name string) probe {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return stack.Dial(wait, name)
	}}
	return func(ctx context.Context) (failed, never error) {
		if failed = request(ctx, transport, spec.Ready, stack.URL()+spec.Ready.Path); failed != nil {
			failed = fmt.Errorf("service %s: %w", name, failed)
		}
		return failed, nil
	}
}

// request asks once.
func request(ctx context.Context, transport *http.Transport, p ready.Probe, url string) error {
	req, err := p.Request(url)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", probeAgent)
	// Redirects are not followed: they lead away from the stack, and an app must
	// not make this machine send requests into its network.
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	if p.Accepts(resp.StatusCode) {
		return nil
	}
	if to := resp.Header.Get("Location"); resp.StatusCode >= 300 && resp.StatusCode <= 399 && to != "" {
		return fmt.Errorf("%s %s answered %s to %.200q, and a redirect is not followed: %w %s", req.Method, url, resp.Status, to, ErrReadyPath, p.Accepted())
	}
	if code := resp.StatusCode; code >= 300 && code <= 499 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests {
		return fmt.Errorf("%s %s answered %s %q, and %w %s", req.Method, url, resp.Status, body, ErrReadyPath, p.Accepted())
	}
	return fmt.Errorf("%s %s answered %s %q", req.Method, url, resp.Status, body)
}

// probePause is the pause after a probe: a twentieth of the wait so far. An
// answer is then noticed at most 5% late, and a stack that takes minutes is not
// asked thousands of times.
func probePause(waited time.Duration) time.Duration {
	return min(max(waited/20, probeFirst), probeSlowest)
}

// watchServices cancels the wait when a service has ended.
func watchServices(ctx context.Context, stack Stack, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := stack.Check(ctx); errors.Is(err, ErrEnded) {
				cancel(fmt.Errorf("before it was ready: %w", err))
				return
			}
		}
	}
}

// ErrUnsettled is the error of WaitSettled when the stack is still busy by
// itself after settlePatience.
var ErrUnsettled = errors.New("the stack is still busy by itself")

const (
	settleWindow   = 250 * time.Millisecond
	settleShare    = 0.10 // of one core
	settlePatience = 30 * time.Second
)

// WaitSettled returns nil once the stack uses next to no CPU by itself. The
// first worker may answer while others still load their copies of the model;
// their CPU time shows it.
func WaitSettled(ctx context.Context, stack Stack) error {
	deadline := time.Now().Add(settlePatience)
	for time.Now().Before(deadline) {
		if share, err := busy(ctx, stack); err != nil || share < settleShare {
			return err
		}
	}
	return fmt.Errorf("%w after %v", ErrUnsettled, settlePatience)
}

// busy looks for a moment how many cores the stack uses.
func busy(ctx context.Context, stack Stack) (float64, error) {
	meter, err := stack.Meter(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		meter.Stop()
		return 0, context.Cause(ctx)
	case <-time.After(settleWindow):
	}
	usage := meter.Stop()
	if usage.CPU == nil {
		return 0, fmt.Errorf("%w, or not: its CPU time cannot be read (%s)", ErrUnsettled, usage.Reason)
	}
	return usage.CPU.Seconds() / time.Since(began).Seconds(), nil
}
