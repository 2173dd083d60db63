//go:build linux

package native

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stackmeter/orchestrator/load"
)

// dialTimeout bounds one attempt to find out which of a name's addresses answers.
const dialTimeout = 3 * time.Second

// A target is where requests go.
type target struct {
	host   string // for the Host header
	name   string // the host without a port
	secure bool   // over TLS
	peer   netip.AddrPort
	socket string // a unix socket's path, instead of peer
}

// resolve finds the address of a load.Job's URL before anything is timed. Of several addresses it
// takes the first that accepts a connection, as a browser would. It does not try a
// single one, so that the server sees nothing but the batch.
func resolve(ctx context.Context, raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("URL %q: %w", raw, err)
	}
	if u.Scheme == "http+unix" {
		return target{host: "localhost", socket: u.Path}, nil
	}
	secure, usual := u.Scheme == "https", "80"
	if secure {
		usual = "443"
	}
	port, err := strconv.ParseUint(cmp.Or(u.Port(), usual), 10, 16)
	if err != nil || port == 0 {
		return target{}, fmt.Errorf("URL %q: port %s does not exist", raw, u.Port())
	}
	addresses, err := load.Addresses(ctx, u)
	if err != nil {
		return target{}, err
	}
	peer := netip.AddrPortFrom(addresses[0].Unmap(), uint16(port))
	if len(addresses) > 1 {
		peer = firstThatAccepts(ctx, addresses, uint16(port))
	}
	name, _, _ := strings.Cut(u.Hostname(), "%") // without a zone
	return target{host: load.HostHeader(u), name: name, secure: secure, peer: peer}, nil
}

// firstThatAccepts is the first address that accepts a connection. If none does, it is
// the first one, and the batch's own errors say what is wrong.
func firstThatAccepts(ctx context.Context, addresses []netip.Addr, port uint16) netip.AddrPort {
	dialer := net.Dialer{Timeout: dialTimeout}
	for _, address := range addresses {
		peer := netip.AddrPortFrom(address.Unmap(), port)
		if c, err := dialer.DialContext(ctx, "tcp", peer.String()); err == nil {
			c.Close()
			return peer
		}
	}
	return netip.AddrPortFrom(addresses[0].Unmap(), port)
}
