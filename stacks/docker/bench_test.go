package docker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// BenchmarkTrial compares one trial without a load (nginx in front of a
// trivial app: start, ready, read back, stop) with a shell script that does
// the same, but for the reading back, with docker commands. They take turns,
// so that the machine's drift is in both; "ratio" is ours over the script's.
func BenchmarkTrial(b *testing.B) {
	r := engine(b)
	spec := benchSpec(b)
	if err := r.Prepare(b.Context(), spec, func(string) {}); err != nil {
		b.Fatal(err)
	}
	script := newScript(b, r, spec)
	script.run(b)

	var ours, theirs time.Duration
	for b.Loop() {
		began := time.Now()
		trial(b, r, spec)
		ours += time.Since(began)
		began = time.Now()
		script.run(b)
		theirs += time.Since(began)
	}
	b.ReportMetric(ours.Seconds()/float64(b.N), "s/trial")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "s/script")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

func benchSpec(b *testing.B) stacks.Spec {
	b.Helper()
	spec, err := servers.Expand("bench-"+filepath.Base(b.TempDir()), stackstest.Plan(), stackstest.Nginx)
	if err != nil {
		b.Fatal(err)
	}
	return spec
}

func trial(b *testing.B, r *Runtime, spec stacks.Spec) {
	stack, err := r.Start(b.Context(), spec)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := stack.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}()
	if err := stacks.WaitReady(b.Context(), spec, stack); err != nil {
		b.Fatal(err)
	}
	if _, err := servers.Verify(b.Context(), spec, stack); err != nil {
		b.Fatal(err)
	}
}

// A script is what one would write without stackmeter.
type script struct{ argv []string }

const scriptText = `set -e
net=$(docker network create "$1-net")
app=$(docker run -d --init --network "$1-net" --network-alias app "$2" $5)
nginx=$(docker run -d --init --network "$1-net" -v "$4:/etc/nginx/nginx.conf:ro" "$3")
ip=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$nginx")
until curl -sf -o /dev/null "http://$ip:8080/healthz"; do sleep 0.02; done
docker rm -f "$app" "$nginx" >/dev/null
docker network rm "$net" >/dev/null
`

func newScript(b *testing.B, r *Runtime, spec stacks.Spec) script {
	b.Helper()
	for _, program := range []string{"docker", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skipf("needs %s: %v", program, err)
		}
	}
	proxy := spec.Entry()
	config := proxy.Proxy.Text(proxy.InContainer(map[string]stacks.Address{stacks.AppService: {Host: "app", Port: spec.Services[0].Port}}))
	file := filepath.Join(b.TempDir(), "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		b.Fatal(err)
	}
	app, err := r.image(b.Context(), spec.Services[0], func(string) {})
	if err != nil {
		b.Fatal(err)
	}
	nginx, err := r.image(b.Context(), spec.Services[1], func(string) {})
	if err != nil {
		b.Fatal(err)
	}
	command := strings.Join(spec.Services[0].Argv(spec.Services[0].InContainer(nil)), " ")
	return script{[]string{"sh", "-c", scriptText, "sh", "stackmeter-bench", app, nginx, file, command}}
}

func (s script) run(b *testing.B) {
	b.Helper()
	if out, err := exec.Command(s.argv[0], s.argv[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}
