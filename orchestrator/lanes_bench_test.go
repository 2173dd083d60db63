package orchestrator_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/kubernetes"
)

// BenchmarkLanes measures stacks that wait rather than compute on one lane and on four, and
// says how many times as fast four are: from when the first stack starts to when the last
// one is gone ("of-4"), and how long the check of the lanes takes that comes before. In a
// cluster each stack has one of its four GPUs. Trials start a stack for each cell, which
// the cores of one machine share; rounds start each once.
func BenchmarkLanes(b *testing.B) {
	const scenario = `
request: {path: '/sleep?s=0.1'}
topologies: [gunicorn w1/t1, gunicorn w1/t2, gunicorn w1/t3, gunicorn w1/t4]
matrix: {requests: [100], client: [single]}
`
	for _, runtime := range []string{"process", "docker", "kubernetes"} {
		for name, keys := range map[string]string{"trials": "repeats: 2\n", "rounds": "fresh: run\nrepeats: 10\n"} {
			b.Run(runtime+"/"+name, func(b *testing.B) {
				var one, four, checked time.Duration
				for b.Loop() {
					took, _ := lanesTook(b, runtime, scenario+keys+"lanes: 1\n")
					one += took
					took, whole := lanesTook(b, runtime, scenario+keys+"lanes: 4\n")
					four, checked = four+took, checked+whole
				}
				b.ReportMetric(one.Seconds()/four.Seconds(), "of-4")
				b.ReportMetric((checked-four).Seconds()/float64(b.N), "s-check")
				b.ReportMetric(one.Seconds()/float64(b.N), "s-on-one")
			})
		}
	}
}

// lanesTook runs a scenario, and returns how long that took without and with the check
// of its lanes. Lanes that were not believed end the benchmark.
func lanesTook(t testing.TB, runtime, scenario string) (took, whole time.Duration) {
	b := newBench(t)
	switch runtime {
	case "process":
		b.local()
	case "kubernetes":
		b.cluster()
		scenario += "resources: {gpu: {mode: required, count: 1}}\n"
	}
	p := b.plan(scenario)
	var from, began time.Time
	b.onEvent = func(e orchestrator.Event) {
		switch {
		case e.Kind == orchestrator.EventRun:
			began = e.Time
		case strings.HasPrefix(e.Message, "looking whether cells on"):
			from = e.Time
		}
	}
	if _, err := b.execute(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	run, records, err := b.store.Run(t.Context(), b.run)
	if err != nil || len(records) != p.Cells() || run.Lanes != nil && run.Lanes.Off != "" {
		t.Fatalf("%d records of %d cells, lanes %v, %v", len(records), p.Cells(), run.Lanes, err)
	}
	for _, r := range records {
		if r.Status != results.StatusOK {
			t.Fatalf("%s: %s", r.Cell.Name, r.Reason)
		}
	}
	if from.IsZero() {
		from = began
	}
	return ended.Sub(began), ended.Sub(from)
}

// cluster makes the bench's stacks Pods of the cluster of tests, whose nodes pull what the
// engine pushes.
func (b *bench) cluster() {
	b.t.Helper()
	file := os.Getenv("STACKMETER_TEST_KUBECONFIG")
	if file == "" {
		b.t.Skip("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and STACKMETER_TEST_KUBECONFIG=FILE, its kubeconfig")
	}
	b.t.Setenv("KUBECONFIG", file)
	runtime, err := kubernetes.New(kubernetes.Options{Images: pushed{b.engine}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { runtime.Close() })
	b.Runtime = runtime
}

// pushed are images of this machine's engine, where the cluster of tests pulls them from.
type pushed struct{ engine *docker.Runtime }

const clusterPrefix = "127.0.0.1:5000/stackmeter-test"

func (p pushed) Publish(ctx context.Context, s stacks.Service, progress func(string)) (kubernetes.Image, error) {
	made, err := p.engine.Push(ctx, s, clusterPrefix, progress)
	return kubernetes.Image(made), err
}

func (p pushed) PublishAgent(ctx context.Context, progress func(string)) (kubernetes.Image, error) {
	made, err := p.engine.PushAgent(ctx, clusterPrefix, progress)
	return kubernetes.Image(made), err
}
