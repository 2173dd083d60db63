package stacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
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
var ErrReadyPath = errors.New("app.ready.path has to be answered with 2xx")

// WaitReady returns nil once a GET of the ready path through the whole stack was
// answered with a 2xx status, not by way of a redirect, while every service ran.
// It fails at once when a service ends, or with ErrElsewhere when what answers does not
// speak HTTP, and soon with ErrElsewhere when one listens where nothing reaches it. After the ready time-out it fails with the last probe's
// error, and with ErrReadyPath if the app refused its request. Without a ready
// path it sends no GET. It does not fetch the logs.
func WaitReady(ctx context.Context, spec Spec, stack Stack) error {
	if spec.Ready.Path == "" {
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

	// Each probe makes its own connection: one in the backlog of a server that is
	// still starting must not decide about the next. None outlives the wait: a
	// transport keeps dialling for a request that was given up, and the address
	// may be another stack's by then.
	var first *firstBytes // of this probe
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
		heard := first
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return heardConn{conn, heard}, err
	}}
	if spec.TLS != nil {
		config, err := spec.TLS.Config()
		if err != nil {
			return err
		}
		transport.TLSClientConfig = config
	}
	// Redirects are not followed: they lead away from the stack, and an app must
	// not make this machine send requests into its network.
	client := &http.Client{Timeout: probeTimeout, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	url := stack.URL() + spec.Ready.Path
	began := time.Now()
	var last error
	for {
		first = new(firstBytes)
		last = probe(ctx, client, url, last)
		if last == nil {
			return stack.Check(ctx)
		}
		if other := first.otherProtocol(ctx, spec, stack.URL(), last); other != nil {
			return other
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
			return fmt.Errorf("%w; the last probe said: %w", cause, last)
		case <-time.After(probePause(time.Since(began))):
		}
	}
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

// probe asks once. If ctx cuts it short it returns the error of the probe
// before, which says more.
func probe(ctx context.Context, client *http.Client, url string, before error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", probeAgent)
	resp, err := client.Do(req)
	if err != nil {
		// The dialer keeps the deadline by a timer of its own, which may be first.
		deadline, bound := ctx.Deadline()
		if before != nil && (ctx.Err() != nil || bound && time.Now().After(deadline)) {
			return before
		}
		return err
	}
	defer resp.Body.Close()
	if to := resp.Header.Get("Location"); resp.StatusCode >= 300 && resp.StatusCode <= 399 && to != "" {
		return fmt.Errorf("GET %s answered %s to %.200q, and a redirect is not followed: %w", url, resp.Status, to, ErrReadyPath)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	switch code := resp.StatusCode; {
	case code >= 200 && code <= 299:
		return nil
	case code >= 300 && code <= 499 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests:
		return fmt.Errorf("GET %s answered %s %q, and %w", url, resp.Status, body, ErrReadyPath)
	}
	return fmt.Errorf("GET %s answered %s %q", url, resp.Status, body)
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
