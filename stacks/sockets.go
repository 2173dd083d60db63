package stacks

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrElsewhere marks an error of WaitReady that says where a service listens, or what
// it speaks there, instead of what it was asked to.
var ErrElsewhere = errors.New("it cannot be reached")

// A Socket is a listening TCP socket.
type Socket struct {
	Address netip.AddrPort
	Inode   string
}

// ParseSockets picks the listening sockets out of /proc/net/tcp or /proc/net/tcp6
// (proc_pid_net(5)). A line begins with its number, the local and the remote
// address, and the state: 0A is TCP_LISTEN.
func ParseSockets(table string) []Socket {
	var all []Socket
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[3] != "0A" {
			continue
		}
		ip, port, _ := strings.Cut(fields[1], ":")
		words, err := hex.DecodeString(ip)
		number, notPort := strconv.ParseUint(port, 16, 16)
		if err != nil || notPort != nil || len(words)%4 != 0 {
			continue
		}
		for i := 0; i < len(words); i += 4 { // each is a number in the order of the machine's bytes
			binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
		}
		if address, ok := netip.AddrFromSlice(words); ok {
			all = append(all, Socket{netip.AddrPortFrom(address.Unmap(), uint16(number)), fields[9]})
		}
	}
	return all
}

const (
	lookFirst    = time.Second // most stacks are ready before
	lookInterval = 500 * time.Millisecond
	sureAfter    = 2 * time.Second // that what is seen is no moment of a start
	idleAfter    = 5 * time.Second
)

// watchSockets cancels the wait when the service that has to answer listens where
// nothing reaches it. It may open another port before it has loaded. Another port
// alone therefore counts only once it does nothing any more.
func watchSockets(ctx context.Context, spec Spec, stack Stack, cancel context.CancelCauseFunc) {
	var seen string
	var since time.Time
	for pause := lookFirst; ; pause = lookInterval {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		where, sure := misplaced(ctx, spec, stack)
		if where != seen {
			seen, since = where, time.Now()
		}
		if seen != "" && (sure && time.Since(since) >= sureAfter || time.Since(since) >= idleAfter && idle(ctx, stack)) {
			cancel(fmt.Errorf("%w: %s", ErrElsewhere, where))
			return
		}
	}
}

// idle reports whether the stack is known to use next to no CPU at the moment.
func idle(ctx context.Context, stack Stack) bool {
	share, err := busy(ctx, stack)
	return err == nil && share < settleShare
}

// misplaced says where the service that has to answer listens instead of where it
// was asked to; empty if it does, does not listen at all, or is not known. sure says
// that it has taken the right port, so that it will not listen there later on.
func misplaced(ctx context.Context, spec Spec, stack Stack) (where string, sure bool) {
	for _, name := range spec.Answering() {
		if i, err := spec.Index(name); err == nil && !spec.Services[i].Unix {
			if where, sure = elsewhere(ctx, stack, name); where != "" {
				break
			}
		}
	}
	return where, sure
}

// elsewhere is misplaced of one service.
func elsewhere(ctx context.Context, stack Stack, service string) (where string, sure bool) {
	asked, listens, err := stack.Listening(ctx, service)
	if err != nil || len(listens) == 0 {
		return "", false
	}
	var all []string
	for _, l := range listens {
		ip := l.Addr()
		all = append(all, l.String())
		switch {
		case l.Port() != asked.Port():
		case ip.Is4() && (ip.IsUnspecified() || ip == asked.Addr() || asked.Addr().IsUnspecified() && !ip.IsLoopback()):
			return "", false
		default:
			sure = true
		}
	}
	slices.Sort(all)
	return fmt.Sprintf("service %s listens on %s, and not on %v: let its command listen on {host}:{port}, or set app.port, or the service's port, to the one that it uses",
		service, strings.Join(slices.Compact(all), ", "), asked), sure
}

// Refused reports whether nobody listens at an address.
func Refused(ctx context.Context, address netip.AddrPort) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address.String())
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
