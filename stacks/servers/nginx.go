package servers

import (
	"context"
	"fmt"
	"strings"

	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// usualKeepalive is how many idle connections nginx keeps to a server that keeps
// them, too.
const usualKeepalive = 32

func nginxSyntax() syntax.Proxy {
	return syntax.Proxy{Name: stacks.RoleNginx, Settings: []syntax.Setting{{
		Name: "upstream_keepalive", Kind: syntax.Whole, Most: syntax.MaxThreads,
		What: fmt.Sprintf("How many idle connections nginx keeps to the server; 0: each request makes its own. By default %d to a server of which it is known that it keeps connections, and 0 to any other, also to a command of yours.", usualKeepalive),
	}}}
}

// loadedNginx reads back the configuration of the running nginx. The title of its
// master process names the file, and nginx itself prints how it understands it.
func loadedNginx(ctx context.Context, stack stacks.Stack, s stacks.Service, facts stacks.Facts) (string, error) {
	file := nginxConfigFile(facts, s.Name)
	if file == "" {
		return "", fmt.Errorf("%w: service %s: no nginx master process was found", stacks.ErrDiffers, s.Name)
	}
	out, err := stack.Exec(ctx, s.Name, "nginx", "-T", "-q", "-c", file)
	if err != nil {
		return "", fmt.Errorf("service %s: read back nginx's configuration: %w", s.Name, err)
	}
	// With -T each file follows a comment with its name. Ours is one file.
	_, config, found := strings.Cut(string(out), "# configuration file "+file+":\n")
	if !found || !strings.Contains(config, "proxy_pass") {
		return "", fmt.Errorf("%w: service %s: nginx -T printed no configuration that passes requests on", stacks.ErrDiffers, s.Name)
	}
	return strings.TrimSpace(config) + "\n", nil
}

// nginxConfigFile returns the file after -c in the title of nginx's master.
func nginxConfigFile(facts stacks.Facts, service string) string {
	for _, s := range facts.Services {
		if s.Service != service {
			continue
		}
		for _, p := range s.Processes {
			rest, ok := strings.CutPrefix(p.Command, "nginx: master process ")
			if !ok {
				continue
			}
			args := strings.Fields(rest)
			for i, a := range args {
				if a == "-c" && i+1 < len(args) {
					return args[i+1]
				}
			}
		}
	}
	return ""
}
