package images

import (
	"flag"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var goldenCases = []struct {
	name    string
	options NginxOptions
}{
	{"defaults", NginxOptions{Listen: netip.MustParseAddrPort("0.0.0.0:8080"), Upstream: netip.MustParseAddrPort("192.0.2.1:8000")}},
	{"everything", NginxOptions{
		Listen: netip.MustParseAddrPort("127.0.0.1:18080"), Upstream: netip.MustParseAddrPort("127.0.0.1:18000"),
		Timeout: 1500 * time.Millisecond, TempDir: "/tmp/stack-1",
	}},
	{"ipv6", NginxOptions{Listen: netip.MustParseAddrPort("[::1]:8080"), Upstream: netip.MustParseAddrPort("[::1]:8000"), Keepalive: 32}},
}

func TestNginxConfigGolden(t *testing.T) {
	for _, c := range goldenCases {
		t.Run(c.name, func(t *testing.T) {
			got, err := NginxConfig(c.options)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", c.name+".conf")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s (go test -update rewrites it):\n%s", file, got)
			}
		})
	}
}

func TestNginxConfigTimeouts(t *testing.T) {
	tests := []struct {
		name    string
		timeout time.Duration
		want    []string
	}{
		{"longer than the client's", 10 * time.Second, []string{"proxy_read_timeout 15s;", "proxy_send_timeout 15s;", "proxy_connect_timeout 15s;"}},
		{"a fraction is rounded up", 100 * time.Millisecond, []string{"proxy_read_timeout 6s;"}},
		{"a connection has its own limit", 10 * time.Minute, []string{"proxy_read_timeout 605s;", "proxy_connect_timeout 75s;"}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			got, err := NginxConfig(NginxOptions{Listen: netip.MustParseAddrPort("0.0.0.0:8080"), Upstream: netip.MustParseAddrPort("192.0.2.1:8000"), Timeout: c.timeout})
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range c.want {
				if !strings.Contains(got, line) {
					t.Errorf("no line %q in:\n%s", line, got)
				}
			}
		})
	}
}

func TestNginxConfigRefuses(t *testing.T) {
	for _, dir := range []string{"tmp", "/", "/tmp/../etc", "/tmp; user root", "/tmp/a b", "/tmp\n"} {
		if got, err := NginxConfig(options(dir)); err == nil || !strings.Contains(err.Error(), "temporary files") {
			t.Errorf("%q: %v\n%s", dir, err, got)
		}
	}
}

func options(dir string) NginxOptions {
	return NginxOptions{Listen: netip.MustParseAddrPort("0.0.0.0:8080"), Upstream: netip.MustParseAddrPort("192.0.2.1:8000"), TempDir: dir}
}

// What holds for every configuration that is rendered at all: a path can add
// nothing to it.
func FuzzNginxConfig(f *testing.F) {
	f.Add("/tmp/a b")
	f.Add("/tmp;")
	plain, err := NginxConfig(options(""))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, dir string) {
		got, err := NginxConfig(options(dir))
		if err != nil {
			return
		}
		for _, special := range []string{";", "{", "}", "\n", "$", "\"", "'", "#", "\\"} {
			if strings.Count(got, special) != strings.Count(plain, special) {
				t.Errorf("directory %q changed the number of %q:\n%s", dir, special, got)
			}
		}
	})
}

func TestNginxContextHasADockerfile(t *testing.T) {
	if _, err := fs.Stat(Nginx(), "Dockerfile"); err != nil {
		t.Fatal(err)
	}
}

// TestNginxAcceptsConfig asks the nginx of the image, started the way a stack
// starts it.
func TestNginxAcceptsConfig(t *testing.T) {
	const tag = "stackmeter-test/nginx"
	if err := exec.Command("docker", "image", "inspect", "debian:trixie-slim").Run(); err != nil {
		t.Skip("needs a Docker engine with the image debian:trixie-slim; run stacks/images/prepare")
	}
	docker(t, "build", "-q", "-t", tag, "nginx")
	for _, c := range goldenCases {
		if c.options.Listen.Addr().Is6() {
			continue // a container need not have IPv6, and nginx -t binds the address
		}
		t.Run(c.name, func(t *testing.T) {
			// nginx makes its own directories, but not their parents.
			parent := c.options.TempDir
			if parent == "" {
				parent = "/tmp"
			}
			id := strings.TrimSpace(docker(t, "create", "--cap-drop", "ALL",
				"--security-opt", "no-new-privileges", "--network", "none",
				"--add-host", "app:127.0.0.1", "--tmpfs", parent, tag,
				"nginx", "-t", "-e", "stderr", "-c", "/etc/nginx/nginx.conf"))
			t.Cleanup(func() { docker(t, "rm", "-f", id) })
			docker(t, "cp", filepath.Join("testdata", c.name+".conf"), id+":/etc/nginx/nginx.conf")
			out := docker(t, "start", "-a", id)
			if !strings.Contains(out, "test is successful") || strings.Contains(out, "[warn]") || strings.Contains(out, "[alert]") {
				t.Errorf("nginx -t says:\n%s", out)
			}
		})
	}
}

// docker runs the engine's command-line client and returns both its outputs.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}
