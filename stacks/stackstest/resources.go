package stackstest

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/container"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

func (s *suite) options(t *testing.T) {
	spec, stack := s.start(t, Gunicorn, func(p *scenarios.Plan) {
		p.App.Entrypoint = []string{"env", "ENTERED={yes}"}
		if !s.Pod {
			p.App.Ulimits = map[string]container.Ulimit{"nofile": {Soft: 512, Hard: 1024}, "core": {}, "fsize": {Soft: 1 << 20, Hard: 2 << 20}}
		}
	})
	if got := get(t, stack, "/environment?name=ENTERED"); got != "{yes}" {
		t.Errorf("the entry point set %q", got)
	}
	found, err := servers.Verify(t.Context(), spec, stack)
	if err != nil {
		t.Fatal(err)
	}
	if s.Pod {
		return
	}
	for _, p := range found.Services[0].Processes {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.PID))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"Max open files": "512 1024 files", "Max core file size": "0 0 bytes", "Max file size": "1048576 2097152 bytes"} {
			_, rest, _ := strings.Cut(string(limits), name)
			line, _, _ := strings.Cut(rest, "\n")
			if got := strings.Join(strings.Fields(line), " "); got != want {
				t.Errorf("%s: %s is %q, want %q", p.Command, name, got, want)
			}
		}
	}
}

func (s *suite) limits(t *testing.T) {
	if s.Pod {
		for asks, change := range map[string]func(*scenarios.Plan){
			"ulimits": func(p *scenarios.Plan) { p.App.Ulimits = map[string]container.Ulimit{"core": {}} },
			"pids":    func(p *scenarios.Plan) { p.App.PIDs = 300 },
		} {
			err := s.Runtime.Prepare(t.Context(), Spec(t, s.run(t), Flask, change), func(string) {})
			if err == nil || !strings.Contains(err.Error(), asks) {
				t.Errorf("%s: %v", asks, err)
			}
		}
		return
	}
	for most, threads := range map[int]string{0: "threads: 40", 300: "threads: 29"} {
		_, stack := s.launch(t, scenarios.Topology{Name: "greedy", Server: scenarios.ServerCommand, Command: []string{"python3", "-c", greedy}},
			func(p *scenarios.Plan) { p.App.PIDs = most })
		s.greedy(t, stack, cmp.Or(most, stacks.PIDsLimit), threads)
	}
}

func (s *suite) greedy(t *testing.T, stack stacks.Stack, most int, threads string) {
	var ended error
	s.until(t, "it has as many threads as it likes", func() bool {
		ended = stack.Check(t.Context())
		return ended != nil || strings.Contains(logs(t, stack), threads)
	})
	if ended != nil && !strings.HasSuffix(ended.Error(), fmt.Sprintf("it had more than %d processes and threads", most)) {
		t.Error(ended)
	}
	if printed := logs(t, stack); !strings.Contains(printed, "files up to 64 GiB:") {
		t.Errorf("files: %s", printed)
	}
}

func (s *suite) meter(t *testing.T) {
	_, stack := s.start(t, Nginx, nil)
	meter, err := stack.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	get(t, stack, "/memory?mib=64")
	before, err := stack.CPU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	get(t, stack, "/busy?s=0.3")
	after, err := stack.CPU(t.Context())
	usage := meter.Stop()
	if used := after - before; err != nil || used < 250*time.Millisecond || usage.CPU != nil && used > *usage.CPU {
		t.Errorf("the app was busy for 0.3 s: %v by the counters, %v by the meter, %v", used, usage.CPU, err)
	}
	if usage.Memory == nil || usage.Start == nil || usage.CPU == nil {
		t.Fatalf("not measured: %+v", usage)
	}
	if grown := *usage.Memory - *usage.Start; grown < 60<<20 || grown > 100<<20 {
		t.Errorf("the app took 64 MiB, the meter saw %d MiB more", grown>>20)
	}
	if *usage.CPU < 250*time.Millisecond {
		t.Errorf("the app was busy for 0.3 s, the meter saw %v", *usage.CPU)
	}
	if usage.KernelPeak != nil && *usage.KernelPeak < *usage.Memory {
		t.Errorf("the kernel's mark %d is under the sampled peak %d", *usage.KernelPeak, *usage.Memory)
	}
	if usage.Method == "" || usage.Samples < 2 || len(usage.Services) != 2 {
		t.Errorf("how it was obtained: %+v", usage)
	}
	var top int64
	for i, sample := range usage.Series {
		if sample.Memory == nil || i > 0 && sample.At <= usage.Series[i-1].At {
			t.Fatalf("sample %d of the series: %+v", i, sample)
		}
		top = max(top, *sample.Memory)
	}
	if len(usage.Series) != usage.Samples || top != *usage.Memory {
		t.Errorf("a series of %d samples up to %d, want %d up to %d", len(usage.Series), top, usage.Samples, *usage.Memory)
	}
	if again := meter.Stop(); again.Samples != usage.Samples {
		t.Errorf("stopped again: %+v, before: %+v", again, usage)
	}
}

func (s *suite) oom(t *testing.T) {
	_, stack := s.start(t, Gunicorn, func(p *scenarios.Plan) { p.Resources.Memory = 200 << 20 })
	meter, err := stack.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := visitor.Get(stack.URL() + "/memory?mib=400"); err == nil {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("400 MiB under a limit of 200 MiB: %s", resp.Status)
		}
	}
	if usage := meter.Stop(); usage.OOMKills == 0 {
		t.Errorf("no out-of-memory kill was seen: %+v", usage)
	}
}
