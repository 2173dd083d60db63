// Package images holds what stackmeter's own images are made from.
//
// The build contexts of the nginx image and of the load client's image, and the
// template of nginx's configuration, are part of the program: a stack with nginx
// in front needs no source tree. The sample application (classifier) is a build
// context that scenarios name by its path. The script prepare gets a machine
// ready.
package images

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"text/template"
	"time"
)

//go:embed nginx/Dockerfile python-requests/Dockerfile
var contexts embed.FS

// Nginx is the build context of the nginx image: a Dockerfile at its root.
//
// A container of that image runs as an ordinary user and reads
// /etc/nginx/nginx.conf. NginxConfig renders that file, which has to be there
// before the container starts.
func Nginx() fs.FS { return buildContext("nginx") }

// PythonRequests is the build context of the image that the load client of the
// engine python-requests runs in: a Dockerfile at its root. The image has
// python3 with requests.
func PythonRequests() fs.FS { return buildContext("python-requests") }

func buildContext(name string) fs.FS {
	sub, err := fs.Sub(contexts, name)
	if err != nil {
		// Only an invalid path does that, and these are constants.
		panic(err)
	}
	return sub
}

//go:embed nginx/nginx.conf.tmpl
var nginxTemplate string

// timeoutMargin is how much longer nginx waits than the client: a request that
// takes too long is then always the client's time-out, and never nginx's 504.
const timeoutMargin = 5 * time.Second

// maxConnect is the longest proxy_connect_timeout that nginx's documentation
// promises to keep.
const maxConnect = 75 * time.Second

// NginxOptions are what differs between the nginx configurations of two stacks.
type NginxOptions struct {
	Listen   netip.AddrPort
	Upstream netip.AddrPort // the application
	Timeout  time.Duration  // how long a client waits for one request; 0: 60 s
	TempDir  string         // an existing directory for the pid file and temporary files, absolute; empty: /tmp

	// Keepalive is how many idle connections to the upstream are kept; 0: each
	// request makes its own. A server that closes a connection after an answer and
	// does not say so loses the requests that are sent into it meanwhile.
	Keepalive int
}

// NginxConfig renders an nginx.conf, valid for nginx 1.22 and later, that
// passes every request on to one upstream. Its processes stay in the
// foreground, log errors to standard error, and write only below TempDir.
// The error names a TempDir that is not usable.
func NginxConfig(o NginxOptions) (string, error) {
	o.Timeout, o.TempDir = cmp.Or(o.Timeout, time.Minute), cmp.Or(o.TempDir, "/tmp")
	if err := checkTempDir(o.TempDir); err != nil {
		return "", fmt.Errorf("nginx configuration: %w", err)
	}
	t, err := template.New("nginx.conf").Parse(nginxTemplate)
	if err != nil {
		return "", fmt.Errorf("nginx configuration: %w", err)
	}
	wait := o.Timeout + timeoutMargin
	var b strings.Builder
	err = t.Execute(&b, struct {
		NginxOptions
		TimeoutSeconds int64
		ConnectSeconds int64
	}{o, wholeSeconds(wait), wholeSeconds(min(wait, maxConnect))})
	if err != nil {
		return "", fmt.Errorf("nginx configuration: %w", err)
	}
	return b.String(), nil
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

var plainPath = regexp.MustCompile(`^/[A-Za-z0-9_./+@-]*$`)

func checkTempDir(dir string) error {
	if !plainPath.MatchString(dir) || path.Clean(dir) != dir || dir == "/" {
		return fmt.Errorf("directory for temporary files %q: must be an absolute path of letters, digits and _ . / + @ -", dir)
	}
	return nil
}
