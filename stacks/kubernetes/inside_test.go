package kubernetes

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/stacks"
)

// TestParseProcess reads this very process as cat prints it, and refuses what is another
// container's or has ended in between.
func TestParseProcess(t *testing.T) {
	pid := os.Getpid()
	var whole []byte
	for _, file := range []string{"cgroup", "stat", "status", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Skipf("needs /proc: %v", err)
		}
		whole = append(whole, text...)
	}
	group, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	want, err := stacks.ReadProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	got, is := parseProcess(pid, string(whole), string(group))
	want.Threads, got.Threads = 0, 0 // they change
	if !is || got != want {
		t.Errorf("%+v, %v; want %+v", got, is, want)
	}
	named := strings.Replace(string(whole), "(kubernetes.test)", "(a) 1 (b) )", 1)
	if got, is = parseProcess(pid, named, string(group)); !is || got.Parent != want.Parent || got.Start != want.Start {
		t.Errorf("with a name of brackets: %+v, %v", got, is)
	}
	for what, text := range map[string]string{
		"another group": "0::/other\n" + strings.TrimPrefix(string(whole), string(group)),
		"another pid":   strings.Replace(string(whole), fmt.Sprintf("%d (", pid), "1 (", 1),
		"no files":      string(group),
		"cut short":     string(whole[:len(whole)/2]),
	} {
		if got, is := parseProcess(pid, text, string(group)); is {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestAllowedCores(t *testing.T) {
	for text, want := range map[string][]int{
		"Cpus_allowed:\tf\nCpus_allowed_list:\t0-1,3\nMems_allowed_list:\t0\n": {0, 1, 3},
		"Name:\tcat\n":               nil,
		"Cpus_allowed_list:\tmany\n": nil,
		"":                           nil,
	} {
		if got := allowedCores(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestParseUsed(t *testing.T) {
	for _, test := range []struct {
		text  string
		v2    bool
		want  used
		known bool
	}{
		{"usage_usec 1500\nuser_usec 1000\nlow 0\noom 3\noom_kill 2\n4096\n", true, used{1500 * time.Microsecond, 4096, 2}, true},
		{"usage_usec 1500\noom_kill 0\ncat: /sys/fs/cgroup/memory.peak: No such file or directory\n", true, used{1500 * time.Microsecond, 0, 0}, true},
		{"cat: /sys/fs/cgroup/cpu.stat: No such file or directory\n", true, used{}, false},
		{"2500\noom_kill_disable 0\nunder_oom 0\noom_kill 1\n8192\n", false, used{2500 * time.Nanosecond, 8192, 1}, true},
		{"", false, used{}, false},
	} {
		if got, known := parseUsed(test.text, test.v2); got != test.want || known != test.known {
			t.Errorf("%q: %+v, %v; want %+v, %v", test.text, got, known, test.want, test.known)
		}
	}
}
