package kubernetes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stackmeter/orchestrator/load/remote"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	metering "stackmeter/stacks/cgroup/remote"
	"stackmeter/stacks/stackstest"
)

// TestMain makes the test binary the program in the agents' image too.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != "agent" {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[2] {
	case "hold":
		err = Hold()
	case "release":
		err = Release()
	case "sample":
		err = look()
	case "meter":
		err = metering.Serve(standardStreams{os.Stdin, os.Stdout}, os.Args[3], "")
	case "load":
		_, err = io.Copy(io.Discard, os.Stdin)
	case "dial":
		err = remote.Connect(context.Background(), os.Args[3], os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// standardStreams end with the process.
type standardStreams struct {
	io.Reader
	io.Writer
}

func (standardStreams) Close() error { return nil }

// look says what an agent sees and may, in lines, and ends with its input.
func look() error {
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return err
	}
	capabilities := ""
	status, err := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if value, is := strings.CutPrefix(line, "CapPrm:\t"); is {
			capabilities = strings.TrimSpace(value)
		}
	}
	_, driver := os.Stat("/usr/lib/libnvidia-ml.so.1")
	_, token := os.Stat("/var/run/secrets/kubernetes.io")
	written := os.WriteFile("/usr/local/bin/new", nil, 0o644)
	fmt.Println(namespace, os.Getuid(), capabilities, driver == nil, token == nil, written == nil)
	_, end := io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, end)
}

// TestKubernetesAgent: before anything of a stack runs, its devices are known and an agent
// is on its node, which sees all processes and devices and may nothing. Closing its stream
// removes it.
func TestKubernetesAgent(t *testing.T) {
	r := cluster(t)
	r.options.Agents.RuntimeClass = "nvidia"
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Nginx, wants(scenarios.GPURequired, 1))
	if err := r.Prepare(t.Context(), spec, func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	var at stacks.Place
	var stream io.ReadWriteCloser
	started, err := r.StartPlaced(t.Context(), spec, stacks.Placing{Placed: func(ctx context.Context, place stacks.Place) error {
		at = place
		pods, err := r.api.CoreV1().Pods(r.namespace).List(ctx, meta.ListOptions{LabelSelector: labelRun + "=" + spec.Run})
		if err != nil || len(pods.Items) != 1 {
			t.Errorf("%d Pods, %v", len(pods.Items), err)
			return err
		}
		for _, c := range pods.Items[0].Status.ContainerStatuses {
			if c.State.Running != nil {
				t.Errorf("%s runs already", c.Name)
			}
		}
		if stream, err = place.Agent(ctx); err != nil {
			return err
		}
		line, err := bufio.NewReader(stream).ReadString('\n')
		if want := fmt.Sprintln(own, agentUser, "0000000000000000", true, false, false); line != want {
			t.Errorf("the agent sees %q, want %q (%v)", line, want, err)
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Stop(context.Background()) })
	if err := stacks.WaitReady(t.Context(), spec, started); err != nil {
		t.Error(err)
	}
	if len(at.Devices) != 1 || !slices.Equal(at.Devices, started.Devices()) {
		t.Errorf("devices %v, and the stack has %v", at.Devices, started.Devices())
	}
	agents := func() (pods []core.Pod) {
		all, err := r.api.CoreV1().Pods(r.namespace).List(t.Context(), meta.ListOptions{LabelSelector: labelRun + "=" + spec.Run})
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(all.Items, func(p core.Pod) bool { return !p.Spec.HostPID })
	}
	if got := agents(); len(got) != 1 || got[0].Spec.NodeName != started.(*stack).node {
		t.Errorf("%d agents", len(got))
	}
	if err := started.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if got := agents(); len(got) != 1 {
		t.Errorf("the agent went with its stack: nothing saw the memory come back")
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestKubernetesAgentForbidden: where a namespace forbids Pods that see the node, the
// stack starts without an agent, and it is said why; an error of placed ends the start.
func TestKubernetesAgentForbidden(t *testing.T) {
	r := cluster(t)
	aNamespace(t, r, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, wants(scenarios.GPURequired, 1))
	if err := r.Prepare(t.Context(), spec, func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	var forbidden error
	started, err := r.StartPlaced(t.Context(), spec, stacks.Placing{Placed: func(ctx context.Context, at stacks.Place) error {
		_, forbidden = at.Agent(ctx)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if forbidden == nil || !strings.Contains(forbidden.Error(), "violates PodSecurity") || !strings.Contains(forbidden.Error(), "hostPID") || strings.Contains(forbidden.Error(), "USER in the Dockerfile") {
		t.Errorf("the agent: %v", forbidden)
	}
	if err := errors.Join(stacks.WaitReady(t.Context(), spec, started), started.Stop(t.Context())); err != nil {
		t.Error(err)
	}
	refused := errors.New("somebody is on the device")
	if _, err := r.StartPlaced(t.Context(), spec, stacks.Placing{Placed: func(context.Context, stacks.Place) error { return refused }}); !errors.Is(err, refused) {
		t.Errorf("placed failed, and Start says %v", err)
	}
	r.options.Images = nil
	r.images.Delete("agent")
	var unseen string
	if started, err = r.StartPlaced(t.Context(), spec, stacks.Placing{Placed: func(_ context.Context, at stacks.Place) error {
		unseen = at.Unseen
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if err := started.Stop(t.Context()); err != nil || !strings.Contains(unseen, "--agent-image") {
		t.Errorf("without an image: %q, %v", unseen, err)
	}
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestHold: what is held goes on when it is released and who did that has ended, and not
// before.
func TestHold(t *testing.T) {
	held := make(chan error, 1)
	go func() { held <- Hold() }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-held:
			t.Fatalf("not released: %v", err)
		default:
		}
		err := Release()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	select {
	case err := <-held:
		t.Errorf("it goes on though who released it has not ended: %v", err)
	case <-time.After(100 * time.Millisecond):
		released.Close()
		if err := <-held; err != nil {
			t.Error(err)
		}
	}
	if err := Release(); err == nil || !strings.Contains(err.Error(), "nothing is held") {
		t.Errorf("released twice: %v", err)
	}
}
