//go:build linux

package process

import (
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// BenchmarkSample is what one sample of the meter without control groups
// costs, for gunicorn with four workers of four threads.
func BenchmarkSample(b *testing.B) {
	r := machine(b, "flask", "gunicorn")
	r.ungrouped = errNoGroup
	spec, err := servers.Expand("bench", stackstest.Plan(),
		scenarios.Topology{Name: "gunicorn-w4-t4", Server: "gunicorn", Workers: 4, Threads: 4})
	if err != nil {
		b.Fatal(err)
	}
	started, err := r.Start(b.Context(), spec)
	if err != nil {
		b.Fatal(err)
	}
	defer started.Stop(b.Context())
	if err := stacks.WaitReady(b.Context(), spec, started); err != nil {
		b.Fatal(err)
	}
	if _, err := servers.Verify(b.Context(), spec, started); err != nil {
		b.Fatal(err)
	}
	one := started.(*stack).services[0]
	s := procService{supervisor: one.record.Supervisor}
	for b.Loop() {
		if _, _, err := s.read(); err != nil {
			b.Fatal(err)
		}
	}
}
