package images

import (
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed nginx/nginx.conf.tmpl
var nginxTemplate string

// Defaults of NginxOptions.
const (
	defaultTimeout     = 60 * time.Second
	defaultMaxBody     = 256 << 20 // bytes; above any image, and the application's own limit is what should refuse
	defaultWorkers     = 1         // passing on inference requests takes little, and "auto" would differ between machines
	defaultConnections = 4096
	defaultKeepalive   = 32
	defaultTempDir     = "/tmp"
)

// timeoutMargin is how much longer nginx waits than the client, so that a
// request that takes too long is always the client's time-out and never
// sometimes nginx's 504.
const timeoutMargin = 5 * time.Second

// maxConnect is the longest proxy_connect_timeout that nginx's documentation
// promises to keep.
const maxConnect = 75 * time.Second

// NginxOptions are what differs between the nginx configurations of two
// stacks. Listen and Upstream are required; a zero value elsewhere means the
// default.
type NginxOptions struct {
	Listen      string        // IP address and port to listen on, such as 0.0.0.0:8080
	Upstream    string        // the application's host (name or address) and port
	Timeout     time.Duration // how long a client waits for one request; 60 s
	MaxBody     int64         // largest request body, in bytes; 256 MiB
	Workers     int           // worker processes; 1
	Connections int           // connections of each worker, to clients and to the application together; 4096
	Keepalive   int           // idle connections to the application that each worker keeps; 32
	TempDir     string        // an existing directory for the pid file and temporary files, absolute; /tmp
}

// NginxConfig renders an nginx.conf, valid for nginx 1.22 and later, that
// passes every request on to one upstream. Its processes stay in the
// foreground, log errors to standard error, and write only below TempDir.
// The error names every option that is not usable.
func NginxConfig(o NginxOptions) (string, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
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
		MaxFiles       int
		TimeoutSeconds int64
		ConnectSeconds int64
	}{o, 2*o.Connections + 64, wholeSeconds(wait), wholeSeconds(min(wait, maxConnect))})
	if err != nil {
		return "", fmt.Errorf("nginx configuration: %w", err)
	}
	return b.String(), nil
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

func (o NginxOptions) withDefaults() NginxOptions {
	orDefault(&o.Timeout, defaultTimeout)
	orDefault(&o.MaxBody, defaultMaxBody)
	orDefault(&o.Workers, defaultWorkers)
	orDefault(&o.Connections, defaultConnections)
	orDefault(&o.Keepalive, defaultKeepalive)
	orDefault(&o.TempDir, defaultTempDir)
	return o
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Upper limits are far above what a stack needs; they keep a mistyped number
// from becoming a configuration that nginx refuses or that takes the machine.
func (o NginxOptions) validate() error {
	return errors.Join(
		checkListen(o.Listen),
		checkUpstream(o.Upstream),
		checkRange("time-out in seconds", int64(o.Timeout/time.Second), 0, 7*24*3600),
		checkRange("largest body in bytes", o.MaxBody, 1, 1<<40),
		checkRange("number of workers", int64(o.Workers), 1, 1024),
		checkRange("number of connections", int64(o.Connections), 16, 1<<20),
		checkRange("number of idle connections", int64(o.Keepalive), 1, 1<<20),
		checkTempDir(o.TempDir),
	)
}

func checkRange(noun string, value, least, most int64) error {
	if value < least || value > most {
		return fmt.Errorf("%s %d: must be %d to %d", noun, value, least, most)
	}
	return nil
}

func checkListen(address string) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
		return fmt.Errorf("listen address %q: must be an IP address and a port, such as 0.0.0.0:8080", address)
	}
	return nil
}

// hostName is what a host may look like besides an IP address. Service names
// are among them; nothing in it means anything to nginx.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,252})$`)

func checkUpstream(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		n, portErr := strconv.ParseUint(port, 10, 16)
		ip, ipErr := netip.ParseAddr(host)
		isAddress := ipErr == nil && ip.Zone() == ""
		if portErr == nil && n > 0 && (isAddress || hostName.MatchString(host)) {
			return nil
		}
	}
	return fmt.Errorf("upstream %q: must be a host and a port, such as app:8000", address)
}

var plainPath = regexp.MustCompile(`^/[A-Za-z0-9_./+@-]*$`)

func checkTempDir(dir string) error {
	if !plainPath.MatchString(dir) || path.Clean(dir) != dir || dir == "/" {
		return fmt.Errorf("directory for temporary files %q: must be an absolute path of letters, digits and _ . / + @ -", dir)
	}
	return nil
}
