package servers

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"stackmeter/stacks"
)

// nginx is nginx 1.22 or later: a master process and its workers.
// https://nginx.org/en/docs/
type nginx struct{}

func (nginx) Program() Program { return Program{Name: "nginx", Debian: "nginx-light"} }

// Command implements Proxy. The log file that nginx was built with belongs to root.
func (nginx) Command() []string { return []string{"nginx", "-c", "{config}", "-e", "stderr"} }

func (nginx) Env(Front) map[string]string { return nil }

func (nginx) Socket() string { return "unix:" }

func (nginx) Config(f Front, upstreams []string) string { return f.render(nginxConfig, upstreams) }

// Own implements Proxy. Without these directives nginx leaves its service, or writes
// where only root may.
func (nginx) Own(text string, upstreams []string) string {
	text = eachUpstream(text, nginxDirective, upstreams)
	for _, directive := range []string{"pid {folder}/nginx.pid;", "user root;", "daemon off;"} {
		name, _, _ := strings.Cut(directive, " ")
		if !regexp.MustCompile(`(?m)^\s*` + name + `\s`).MatchString(text) {
			if name == "user" {
				directive = "{if root}" + directive
			}
			text = directive + " # added by stackmeter\n" + text
		}
	}
	return text
}

var nginxDirective = regexp.MustCompile(`([^;{}]|\{replica\})*\{upstream\}([^;{}]|\{replica\}|\{port\})*;`)

// Loaded implements Proxy. The title of its master process names the file, and nginx
// itself prints how it understands it.
func (nginx) Loaded(ctx context.Context, stack stacks.Stack, proxy stacks.ServiceFacts) (string, error) {
	file, err := configFile(proxy, "nginx", "-c")
	if err != nil {
		return "", err
	}
	out, err := stack.Exec(ctx, proxy.Service, "nginx", "-T", "-q", "-c", file)
	if err != nil {
		return "", fmt.Errorf("service %s: read back nginx's configuration: %w", proxy.Service, err)
	}
	// With -T each file follows a comment with its name. Ours is the first.
	_, config, found := strings.Cut(string(out), "# configuration file "+file+":\n")
	if !found {
		return "", fmt.Errorf("%w: service %s: nginx -T did not print the configuration %s", stacks.ErrDiffers, proxy.Service, file)
	}
	return strings.TrimSpace(config) + "\n", nil
}

const nginxConfig = `# Written by stackmeter for one stack.
daemon off;
# Its workers would be nobody, who may not use the folder of the stack.
{if root}user root;
pid {folder}/nginx.pid;
error_log stderr warn;
# Passing on inference requests takes little, and "auto" would differ between
# machines.
worker_processes {{.Workers}};
worker_rlimit_nofile 8256;

events {
    # To clients and to the application together.
    worker_connections 4096;
}

http {
    # What a client sees is measured; one line for each request is not.
    access_log off;
    server_tokens off;
    default_type application/octet-stream;

    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;

    upstream app {
        # A refused connection is an answer about the server, to be counted; it
        # must not take the server out of use for the next ten seconds.
{{- range .Upstreams}}
        server {{.}} max_fails=0;
{{- end}}
{{- if .Keepalive}}
        keepalive {{.Keepalive}};
        # Shorter than the 2 s after which gunicorn closes an idle connection:
        # a request sent into one that is being closed would be lost.
        keepalive_timeout 1s;
{{- end}}
    }

    server {
        listen {listen} backlog=2048;

        keepalive_timeout 75s;
        keepalive_requests 1000000;
        tcp_nodelay on;

        # Above any image: the application's own limit is what should refuse.
        client_max_body_size {{or .MaxBody "256m"}};
        # Uploads are held in memory, never written to a disk. What is allocated is
        # the request's Content-Length, not this.
        client_body_buffer_size {{or .MaxBody "256m"}};
        client_header_timeout {{.Seconds}}s;
        client_body_timeout {{.Seconds}}s;
        send_timeout {{.Seconds}}s;

        location / {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection {{if .Keepalive}}""{{else}}close{{end}};
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;

            # Longer than the client waits: it is the client that gives up, just as
            # it does on a stack without nginx.
            proxy_connect_timeout {{.ConnectSeconds}}s;
            proxy_send_timeout {{.Seconds}}s;
            proxy_read_timeout {{.Seconds}}s;
            # One request of the client is one request to the application.
            proxy_next_upstream off;

            # The upload is taken in whole before a worker of the application is
            # asked, so that a slow client does not occupy one.
            proxy_request_buffering on;
            # The answer likewise frees the worker as soon as it is written; what
            # does not fit in memory waits, and is never written to a disk.
            proxy_buffering on;
            proxy_buffers 16 16k;
            proxy_buffer_size 16k;
            proxy_busy_buffers_size 32k;
            proxy_max_temp_file_size 0;
        }
    }
}
`
