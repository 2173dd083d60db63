package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/postgres/pgtest"
)

// TestKubernetesInside: what agent manifest prints runs a scenario from within the
// cluster. Its orchestrator is killed, and its Pod deleted; another one goes on, with
// nothing lost, measured twice or left. What it may do is what it does.
func TestKubernetesInside(t *testing.T) {
	file := os.Getenv(clusterConfig)
	if file == "" {
		t.Skipf("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and %s=FILE, its kubeconfig", clusterConfig)
	}
	t.Setenv("KUBECONFIG", file)
	cluster := filepath.Dir(file)
	server := pgtest.Start(t)
	db := server.Database()
	s := newSessionAlone(t)
	kubectl := func(args ...string) *exec.Cmd { return exec.Command(filepath.Join(cluster, "bin", "kubectl"), args...) }
	const prefix, namespace, name = "127.0.0.1:5000/stackmeter-test", "inside", "bench"
	app := prefix + "/inside-app:1"
	s.does(exec.Command("docker", "build", "--quiet", "--tag", app, s.app))
	s.does(exec.Command("docker", "push", "--quiet", app))
	t.Cleanup(func() { s.does(exec.Command("docker", "rmi", app)) })
	// Two nodes may know two images by one tag, of which a run has the first.
	pinned := s.does(exec.Command("docker", "inspect", "--format", "{{index .RepoDigests 0}}", app))
	folder := filepath.Join(s.dir, "bench")
	scenario := filepath.Join(folder, "inside.yaml")
	for path, text := range map[string]string{
		filepath.Join(s.dir, "photos", "a.jpg"): "\xff\xd8 not UTF-8",
		scenario: fmt.Sprintf(`name: inside
app: {image: %q, wsgi: "wsgi:app", ready: {path: /healthz}}
request: {method: POST, path: "/sleep?s=0.1", multipart: {field: file, files: [../photos/a.jpg]}}
resources: {gpu: {mode: required, count: 1}}
topologies: [gunicorn w1/t2, nginx + gunicorn w1/t2]
matrix: {requests: [20], client: [single, mt], pool: [2]}
fresh: run
repeats: 3
warmup: 1
`, pinned),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.does(kubectl("create", "namespace", namespace))
	t.Cleanup(func() {
		s.does(kubectl("delete", "namespace", namespace, "--timeout=60s"))
		s.does(kubectl("delete", "clusterrole,clusterrolebinding", namespace+"-"+name))
	})
	url := "postgres://stackmeter@" + forwarded(t, filepath.Join(server.Folder(), pgtest.Socket)) + db[strings.LastIndex(db, "/"):]
	if cut := strings.Index(url, "?"); cut >= 0 {
		url = url[:cut]
	}
	s.does(kubectl("create", "secret", "generic", "store", "--namespace", namespace, "--from-literal=url="+url))
	manifest := s.does(s.exec(t.Context(), "agent", "manifest", scenario, "--namespace", namespace, "--name", name, "--db-secret", "store",
		"--image-prefix", prefix, "--runtime-class", "nvidia", "--allow-path", s.dir, "--set", "warmup=2"))
	apply := kubectl("apply", "--filename", "-")
	apply.Stdin = strings.NewReader(manifest)
	s.does(apply)

	pods := func() []string {
		return strings.Fields(s.does(kubectl("get", "pods", "--namespace", namespace, "--selector", "batch.kubernetes.io/job-name="+name, "--field-selector", "status.phase=Running", "--output", "jsonpath={.items[*].metadata.name}")))
	}
	job := func() string {
		return s.does(kubectl("get", "job", name, "--namespace", namespace, "--output", "jsonpath={.status.conditions[*].type} {.status.succeeded}"))
	}
	await := func(what string, limit time.Duration, is func() bool) {
		t.Helper()
		for began := time.Now(); !is(); time.Sleep(500 * time.Millisecond) {
			if late := time.Since(began) > limit; late || strings.Contains(job(), "Failed") {
				t.Fatalf("%s: not within %v, or it failed\n%s\n%s", what, limit,
					s.does(kubectl("get", "pods,jobs,events", "--namespace", namespace, "--output", "wide")),
					s.does(kubectl("logs", "--namespace", namespace, "--selector", "batch.kubernetes.io/job-name="+name, "--prefix", "--tail", "30")))
			}
		}
	}
	measured := func(n int) func() bool {
		return func() bool {
			store, err := openStore(t.Context(), db)
			if err != nil {
				return false // its tables are not there yet
			}
			defer store.Close()
			_, records, err := store.Run(t.Context(), name)
			return err == nil && len(records) >= n
		}
	}
	await("the first cell", 3*time.Minute, measured(1))
	killInPod(t, "run")
	await("a cell after it was killed", 3*time.Minute, measured(4))
	first := pods()
	if len(first) != 1 {
		t.Fatalf("orchestrators: %v", first)
	}
	s.does(kubectl("delete", "pod", first[0], "--namespace", namespace))
	await("the end", 4*time.Minute, func() bool { return strings.Contains(job(), "Complete") })
	run, records := inDatabase(t, db, name)
	cells := map[string]int{}
	for _, r := range records {
		cells[fmt.Sprint(r.Key())]++
		if r.Status != results.StatusOK || !strings.HasPrefix(r.Stack.GPU, "GPU-") || slices.Contains(r.Flags, results.FlagNoAgent) {
			t.Errorf("%s: %s %s, GPU %s, flags %v", r.Cell.Name, r.Status, r.Reason, r.Stack.GPU, r.Flags)
		}
	}
	if run.Outcome != results.OutcomeOK || len(cells) != 12 || len(records) != 12 {
		t.Errorf("outcome %q, %d records of cells %v", run.Outcome, len(records), cells)
	}
	if left := s.does(kubectl("get", "pods,jobs,secrets,configmaps,networkpolicies", "--all-namespaces", "--selector", "stackmeter.run="+run.ID, "--output", "name")); left != "" {
		t.Errorf("left behind: %s", left)
	}
	may := granted(t, s.does(kubectl("get", "role", name, "--namespace", namespace, "--output", "json")), "")
	maps.Copy(may, granted(t, s.does(kubectl("get", "clusterrole", namespace+"-"+name, "--output", "json")), " everywhere"))
	did := asked(t, filepath.Join(cluster, "state", "log", "audit"), "system:serviceaccount:"+namespace+":"+name)
	for _, reserve := range []string{
		"create pods/exec",     // a WebSocket asks for it too, and is logged as the GET that it begins with
		"get nodes everywhere", // where a Pod does not end
		"get pods/log",         // where a stack fails
		"patch jobs",           // where a stack is up for a minute, and its lease is renewed
	} {
		if !may[reserve] {
			t.Errorf("it may not %s", reserve)
		}
		did[reserve] = true
	}
	if !maps.Equal(may, did) {
		t.Errorf("it may %q\nit did %q", slices.Sorted(maps.Keys(may)), slices.Sorted(maps.Keys(did)))
	}
}

// forwarded is an address, on this machine's end of the link to the cluster, that leads to
// a socket.
func forwarded(t *testing.T, socket string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "10.99.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				from.Close()
				continue
			}
			join := func(a, b net.Conn) {
				_, _ = io.Copy(a, b)
				a.Close()
				b.Close()
			}
			go join(from, to)
			go join(to, from)
		}
	}()
	return listener.Addr().String()
}

// killInPod kills what runs this command of stackmeter as the first process of a Pod.
func killInPod(t *testing.T, command string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, file := range processes {
		text, err := os.ReadFile(file)
		argv := strings.Split(string(text), "\x00")
		if err != nil || len(argv) < 3 || argv[0] != "stackmeter" || argv[1] != command || !strings.HasPrefix(argv[2], "/scenario/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
		killed++
	}
	if killed != 1 {
		t.Fatalf("%d orchestrators were killed", killed)
	}
}

// granted are the rights of a Role.
func granted(t *testing.T, role, where string) map[string]bool {
	t.Helper()
	var of struct {
		Rules []struct{ Resources, Verbs []string }
	}
	if err := json.Unmarshal([]byte(role), &of); err != nil {
		t.Fatalf("%v: %s", err, role)
	}
	may := map[string]bool{}
	for _, rule := range of.Rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				may[verb+" "+resource+where] = true
			}
		}
	}
	return may
}

// asked are the rights that a user has used, as the API server logged it. What was
// forbidden is an error.
func asked(t *testing.T, log, user string) map[string]bool {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	did := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb           string
			RequestURI     string
			User           struct{ Username string }
			ObjectRef      struct{ Resource, Subresource, Namespace string }
			ResponseStatus struct{ Code int }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			continue // it is still being written
		}
		if event.User.Username != user || event.ObjectRef.Resource == "" || event.ObjectRef.Resource == "selfsubjectaccessreviews" {
			continue
		}
		if event.ResponseStatus.Code == 403 {
			t.Errorf("it was not allowed to %s %s", event.Verb, event.RequestURI)
		}
		one := event.Verb + " " + event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			one += "/" + event.ObjectRef.Subresource
		}
		if event.ObjectRef.Namespace == "" || event.ObjectRef.Resource == "nodes" {
			one += " everywhere"
		}
		did[one] = true
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return did
}
