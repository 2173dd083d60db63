package kubernetes

import (
	"context"
	"os"
	"testing"

	"stackmeter/stacks"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/stackstest"
)

// Where the tests' cluster is: what cluster/cluster brings up. Its nodes pull from a
// registry, to which the engine of this machine pushes.
const (
	clusterConfig = "STACKMETER_TEST_KUBECONFIG"
	clusterPrefix = "127.0.0.1:5000/stackmeter-test"
)

// pushed are images of this machine's engine.
type pushed struct{ engine *docker.Runtime }

func (p pushed) Publish(ctx context.Context, s stacks.Service, progress func(string)) (Image, error) {
	made, err := p.engine.Push(ctx, s, clusterPrefix, progress)
	return Image(made), err
}

func (p pushed) PublishAgent(ctx context.Context, progress func(string)) (Image, error) {
	made, err := p.engine.PushAgent(ctx, clusterPrefix, progress)
	return Image(made), err
}

// cluster is a runtime over the tests' cluster; without one the test is skipped.
func cluster(t testing.TB) *Runtime {
	t.Helper()
	file := os.Getenv(clusterConfig)
	if file == "" {
		t.Skipf("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and %s=FILE, its kubeconfig", clusterConfig)
	}
	t.Setenv("KUBECONFIG", file)
	engine, err := docker.New()
	if err == nil {
		err = engine.Check(t.Context())
	}
	if err != nil {
		t.Skipf("needs a Docker engine: %v", err)
	}
	t.Cleanup(func() { engine.Close() })
	r, err := New(Options{Images: pushed{engine}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Runtime) leftovers(ctx context.Context, run string) (names []string, err error) {
	all, err := r.list(ctx, labelRun+"="+run)
	for _, one := range all {
		names = append(names, one.String())
	}
	return names, err
}

func TestKubernetesConformance(t *testing.T) {
	stackstest.NoLeaks(t)
	r := cluster(t)
	stackstest.Run(t, stackstest.Bench{Runtime: r, Leftovers: r.leftovers, Names: true, Limits: true, Pod: true})
}
