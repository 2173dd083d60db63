package kubernetes

import (
	"os/exec"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// TestPin: an image is pinned to what a node says it is, if that is said of its name.
func TestPin(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a1", 32)
	for _, test := range []struct{ image, id, want string }{
		{"team/app:1", "docker.io/team/app@" + digest, "team/app:1@" + digest},
		{"nginx", "docker-pullable://nginx@" + digest, "nginx@" + digest},
		{"registry.example:5000/app", "registry.example:5000/app@" + digest, "registry.example:5000/app@" + digest},
		{"registry.example/app:1", "other.example/app@" + digest, ""},
		{"app:1", digest, ""},
		{"app:1", "", ""},
		{"app@" + digest, "app@" + digest, ""},
	} {
		r := &Runtime{}
		r.pin(test.image, test.id)
		got := ""
		if made, pinned := r.images.Load(test.image); pinned {
			got = made.(Image).Reference
		}
		if got != test.want {
			t.Errorf("%s, which is %s: %q, want %q", test.image, test.id, got, test.want)
		}
	}
}

// TestKubernetesPins: what a tag stands for when a run begins is what all its Pods are
// made from, though the tag has moved.
func TestKubernetesPins(t *testing.T) {
	r := cluster(t)
	first := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, nil)
	made, err := r.options.Images.Publish(t.Context(), first.Services[0], func(line string) { t.Log(line) })
	if err != nil {
		t.Fatal(err)
	}
	// A node that knows the tag does not look for it again: each of them begins without it.
	tag := clusterPrefix + "/moves:" + stacks.RandomID()
	push := func(variable string) {
		t.Helper()
		build := exec.CommandContext(t.Context(), "docker", "build", "-q", "-t", tag, "-")
		build.Stdin = strings.NewReader("FROM " + made.Reference + "\nENV " + variable + "=1\n")
		for _, cmd := range []*exec.Cmd{build, exec.CommandContext(t.Context(), "docker", "push", tag)} {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
			}
		}
	}
	push("FIRST")
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", tag).Run() })
	named := func(p *scenarios.Plan) { p.App.Build, p.App.Image = nil, tag }
	on := func(r *Runtime, node string) {
		t.Helper()
		if r.options.Nodes, err = ParseNodes([]string{"kubernetes.io/hostname=" + node}, nil); err != nil {
			t.Fatal(err)
		}
	}
	on(r, "n1")
	spec, st := up(t, r, stackstest.Flask, named)
	was := r.Digest(spec.Services[0])
	if !strings.HasPrefix(was, "sha256:") || st.services[0].image != was {
		t.Errorf("the tag is %q, and %q runs", was, st.services[0].image)
	}
	if err := st.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	push("MOVED")
	on(r, "n2")
	_, again := up(t, r, stackstest.Flask, named)
	facts, err := again.Inspect(t.Context())
	if err != nil || facts.Services[0].Digest != was || facts.Services[0].Image != tag+"@"+was {
		t.Errorf("after the tag moved: %+v, %v; want %s", facts.Services[0], err, was)
	}
	if st.node != "n1" || again.node != "n2" {
		t.Errorf("they were on nodes %s and %s", st.node, again.node)
	}
	later := cluster(t) // as a run that is resumed
	moved := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, named)
	on(later, "n2")
	if err := later.Prepare(t.Context(), moved, func(string) {}); err != nil || later.Digest(moved.Services[0]) == was {
		t.Errorf("another run is still made from %s, %v", was, err)
	}
}
