package servers

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"stackmeter/stacks"
)

// caddy is Caddy, which is one process. https://caddyserver.com/docs/caddyfile
type caddy struct{}

func (caddy) Program() Program { return Program{Name: "caddy", Debian: "caddy"} }

func (caddy) Command() []string {
	return []string{"caddy", "run", "--adapter", "caddyfile", "--config", "{config}"}
}

// Env implements Proxy. The threads that run Go at the same time are Caddy's workers.
func (caddy) Env(f Front) map[string]string {
	return map[string]string{"GOMAXPROCS": strconv.Itoa(f.Workers)}
}

func (caddy) Socket() string { return "unix/" }

func (caddy) Config(f Front, upstreams []string) string { return f.render(caddyConfig, upstreams) }

// Own implements Proxy. A directive takes all its upstreams on one line.
func (caddy) Own(text string, upstreams []string) string {
	return strings.ReplaceAll(text, "{upstream}", strings.Join(upstreams, " "))
}

// Loaded implements Proxy. Caddy prints the configuration that it makes of the file
// that it was started with. It listens to no administrator who could give it another.
func (caddy) Loaded(ctx context.Context, stack stacks.Stack, proxy stacks.ServiceFacts) (string, error) {
	file, err := configFile(proxy, "caddy", "--config")
	if err != nil {
		return "", err
	}
	out, err := stack.Exec(ctx, proxy.Service, "caddy", "adapt", "--pretty", "--adapter", "caddyfile", "--config", file)
	if err != nil {
		return "", fmt.Errorf("service %s: read back its configuration: %w", proxy.Service, err)
	}
	return string(out), nil
}

const caddyConfig = `# Written by stackmeter for one stack.
{
	admin off
	auto_https off
	# What a client sees is measured; one line for each request is not.
	log {
		level WARN
	}
	servers {
		# Longer than the client waits: it is the client that gives up, just as it
		# does on a stack without Caddy.
		timeouts {
			read_header {{.Seconds}}s
			read_body {{.Seconds}}s
			write {{.Seconds}}s
			idle 75s
		}
	}
}

:{port} {
	bind {listen.host}
{{- if .MaxBody}}
	request_body {
		max_size {{.MaxBody}}
	}
{{- end}}
	reverse_proxy{{range .Upstreams}} {{.}}{{end}} {
		# One request of the client is one request to the application, and a
		# refused connection is an answer about the server, to be counted.
		lb_policy round_robin
		lb_try_duration 0
		transport http {
			dial_timeout {{.ConnectSeconds}}s
			response_header_timeout {{.Seconds}}s
			read_timeout {{.Seconds}}s
			write_timeout {{.Seconds}}s
{{- if .Keepalive}}
			# Shorter than the 2 s after which gunicorn closes an idle connection:
			# a request sent into one that is being closed would be lost.
			keepalive 1s
			keepalive_idle_conns_per_host {{.Keepalive}}
{{- else}}
			keepalive off
{{- end}}
		}
	}
}
`
