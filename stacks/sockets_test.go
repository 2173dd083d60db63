package stacks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios/ready"
)

func TestParseSockets(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 301 1 0
   1: 0100007F:1F41 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 302 1 0
   2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 303 1 0
   3: odd:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 304 1 0
`
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	found := map[string]string{}
	live, _ := os.ReadFile("/proc/net/tcp") // the machine's byte order is what the kernel wrote
	for _, s := range append(ParseSockets(table), ParseSockets(string(live))...) {
		found[s.Address.String()] = s.Inode
	}
	if len(ParseSockets(table)) != 2 || found["[::]:80"] != "303" || found[listener.Addr().String()] == "" {
		t.Errorf("%v", found)
	}
}

// A placed stack listens at given addresses; its entry is nginx if it has a proxy.
type placed struct {
	Stack
	asked   string
	listens []string
}

func (p placed) URL() string { return "http://127.0.0.1:1" } // where nobody listens

func (p placed) Listening(context.Context, string) (asked netip.AddrPort, listens []netip.AddrPort, err error) {
	if p.asked == "" {
		return asked, nil, errors.New("it is not known")
	}
	for _, l := range p.listens {
		listens = append(listens, netip.MustParseAddrPort(l))
	}
	return netip.MustParseAddrPort(p.asked), listens, nil
}

// TestAttackListensElsewhere: what a service listens on says early that it will
// never be ready.
func TestAttackListensElsewhere(t *testing.T) {
	for _, test := range []struct {
		name    string
		asked   string
		listens string
		nginx   bool
		told    bool
		sure    bool
	}{
		{"as asked", "0.0.0.0:8000", "0.0.0.0:8000", false, false, false},
		{"at its own address", "0.0.0.0:8000", "172.17.0.2:8000", false, false, false},
		{"nowhere yet", "0.0.0.0:8000", "", false, false, false},
		{"beside others", "0.0.0.0:8000", "127.0.0.1:9000 0.0.0.0:8000", false, false, false},
		{"on loopback", "0.0.0.0:8000", "127.0.0.1:8000", false, true, true},
		{"on loopback behind nginx", "0.0.0.0:8000", "127.0.0.1:8000", true, true, true},
		{"on another port", "0.0.0.0:8000", "0.0.0.0:5000", false, true, false},
		{"on another port of loopback", "0.0.0.0:8000", "127.0.0.1:5000", true, true, false},
		{"for IPv6 alone", "0.0.0.0:8000", "[::]:8000", false, true, true},
		{"for IPv6 alone behind nginx", "0.0.0.0:8000", "[::]:8000", true, true, true},
		{"for IPv6 and IPv4", "0.0.0.0:8000", "[::]:8000 0.0.0.0:8000", true, false, false},
		{"on loopback of IPv6", "0.0.0.0:8000", "[::1]:8000", false, true, true},
		{"a local process", "127.0.0.1:8000", "127.0.0.1:8000", false, false, false},
		{"a local process at another address", "127.0.0.1:8000", "192.0.2.1:8000", false, true, true},
		{"not known", "", "", false, false, false},
	} {
		spec := Spec{Services: []Service{{Name: "app"}}}
		if test.nginx {
			spec.Services = append(spec.Services, Service{Name: "nginx", Proxy: &Proxy{Upstreams: []string{"app"}}})
		}
		where, sure := misplaced(t.Context(), spec, placed{asked: test.asked, listens: strings.Fields(test.listens)})
		if (where != "") != test.told || sure != test.sure {
			t.Errorf("%s: %q, sure %v", test.name, where, sure)
		}
	}
}

// A stack that is up and refuses its ready path is told apart from one that is not
// up yet.
func TestAttackReadyPathIsRefused(t *testing.T) {
	for status, refused := range map[int]bool{404: true, 401: true, 405: true, 302: true, 429: false, 500: false, 503: false} {
		app := answering(t, status)
		spec := Spec{Ready: ready.Probe{Path: "/healthz", Timeout: 50 * time.Millisecond}, Services: []Service{{Name: "app"}}}
		if err := WaitReady(t.Context(), spec, urlStack{placed{}, app}); errors.Is(err, ErrReadyPath) != refused {
			t.Errorf("%d: %v", status, err)
		}
	}
}
