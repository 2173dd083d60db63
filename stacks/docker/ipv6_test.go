package docker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/ready"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// TestAttackIPv6Alone: an app that takes IPv6 alone is told so before its time-out
// also behind nginx and where the engine takes the connections to its port; one that
// takes both is ready.
func TestAttackIPv6Alone(t *testing.T) {
	const server = `import http.server, socket, sys
class S(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[2]))
        self.socket.bind(self.server_address)
S(('::', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
`
	for _, test := range []struct{ alone, nginx, publish bool }{{true, false, false}, {true, true, false}, {true, false, true}, {false, true, true}} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			t.Parallel()
			r := engine(t)
			r.Publish = test.publish
			only := map[bool]string{true: "1", false: "0"}[test.alone]
			spec := stackstest.Spec(t, "test-ipv6-"+filepath.Base(t.TempDir()), scenarios.Topology{Name: "six", Server: scenarios.ServerCommand, Proxy: map[bool]string{true: "nginx"}[test.nginx],
				Command: []string{"python3", "-c", server, "{port}", only}}, func(p *scenarios.Plan) { p.App.Ready = ready.Probe{Path: "/", Timeout: 3 * time.Minute} })
			if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
				t.Fatal(err)
			}
			stack, err := r.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer stack.Stop(context.Background())
			err = stacks.WaitReady(t.Context(), spec, stack)
			if errors.Is(err, stacks.ErrElsewhere) != test.alone || test.alone && !strings.Contains(err.Error(), "[::]:") || !test.alone && err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}
