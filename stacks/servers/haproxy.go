package servers

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"stackmeter/stacks"
)

// haproxy is HAProxy as one process with threads.
// https://docs.haproxy.org/3.0/configuration.html
type haproxy struct{}

func (haproxy) Program() Program { return Program{Name: "haproxy", Debian: "haproxy"} }

// Command implements Proxy. With -db there is no master process: what dies ends the
// service.
func (haproxy) Command() []string { return []string{"haproxy", "-db", "-f", "{config}"} }

func (haproxy) Env(Front) map[string]string { return nil }

func (haproxy) Socket() string { return "unix@" }

func (haproxy) Config(f Front, upstreams []string) string { return f.render(haproxyConfig, upstreams) }

func (haproxy) Own(text string, upstreams []string) string {
	return eachUpstream(strings.TrimRight(text, "\n")+"\n", haproxyLine, upstreams)
}

var haproxyLine = regexp.MustCompile(`.*\{upstream\}.*\n`)

// Loaded implements Proxy. HAProxy prints no configuration: it says whether the file
// that it was started with is one.
func (haproxy) Loaded(ctx context.Context, stack stacks.Stack, proxy stacks.ServiceFacts) (string, error) {
	file, err := configFile(proxy, "haproxy", "-f")
	if err != nil {
		return "", err
	}
	if _, err := stack.Exec(ctx, proxy.Service, "haproxy", "-c", "-f", file); err != nil {
		return "", fmt.Errorf("service %s: %w: %w", proxy.Service, stacks.ErrDiffers, err)
	}
	config, err := stack.Exec(ctx, proxy.Service, "cat", file)
	if err != nil {
		return "", fmt.Errorf("service %s: read back its configuration: %w", proxy.Service, err)
	}
	return strings.TrimSpace(string(config)) + "\n", nil
}

const haproxyConfig = `# Written by stackmeter for one stack.
global
    # Passing on inference requests takes little, and what HAProxy chooses itself
    # would differ between machines.
    nbthread {{.Workers}}
    # To clients; each has a connection to the application besides.
    maxconn 4096
    # What a client sees is measured; one line for each request is not.
    log stderr format raw daemon warning

defaults
    mode http
    log global
    # Longer than the client waits: it is the client that gives up, just as it does
    # on a stack without HAProxy.
    timeout connect {{.ConnectSeconds}}s
    timeout client {{.Seconds}}s
    timeout server {{.Seconds}}s
    timeout queue {{.Seconds}}s
    timeout http-request {{.Seconds}}s
    timeout http-keep-alive 75s
    # One request of the client is one request to the application, and a refused
    # connection is an answer about the server, to be counted.
    retries 0
{{- if .Keepalive}}
    http-reuse always
{{- else}}
    http-reuse never
    option http-server-close
{{- end}}

frontend client
    bind {listen} backlog 2048
{{- if .MaxBody}}
    http-request deny deny_status 413 if { req.body_size gt {{.MaxBody}} }
{{- end}}
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend app

backend app
    balance roundrobin
{{- range $i, $address := .Upstreams}}
    server app-{{$i}} {{$address}}
{{- if $.Keepalive}} pool-max-conn {{$.Keepalive}}
{{- /* Each time half of those that are too many are closed: long before the 2 s after
which gunicorn closes an idle connection. A request sent into one that is being closed
would be lost. */ -}}
{{" "}}pool-purge-delay 100ms
{{- end}}
{{- end}}
`
