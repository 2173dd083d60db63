package docker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
	options "stackmeter/scenarios/container"
	"stackmeter/scenarios/ready"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// look prints what a container got, as the kernel has it.
const look = `import os
def size(path):
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize >> 20
def writes(path): # and whether what is there can be run
    try:
        open(path + "/x", "w").close()
        os.chmod(path + "/x", 0o700)
        return os.access(path + "/x", os.X_OK)
    except OSError as error:
        return error.strerror
print("folder", os.getcwd())
print("shm", size("/dev/shm"), writes("/dev/shm"))
print("tmp", size("/tmp"), writes("/tmp"))
print("root", writes("/srv"), "|", writes("/var"))
print("first", open("/proc/1/comm").read())
`

// TestContainerOptions: what a scenario asks for is what the kernel shows inside of
// the container, and a server that stackmeter knows runs on a read-only file system.
func TestContainerOptions(t *testing.T) {
	r := engine(t)
	yes, no := true, false
	for name, test := range map[string]struct {
		change func(*scenarios.App)
		want   []string
	}{
		"nothing": {func(*scenarios.App) {}, []string{"folder /app\n", "shm 64 False\n", "first docker-init\n"}},
		"everything": {func(a *scenarios.App) {
			a.Workdir, a.ShmSize, a.ReadOnly, a.Init = "/srv", 256<<20, &yes, &no
			a.Tmpfs = map[string]int64{"/tmp": 16 << 20}
			a.Env = map[string]string{"PYTHONPATH": "/app"}
			a.User = "root"
		}, []string{"folder /srv\n", "shm 256 False\n", "tmp 16 True\n", "root Read-only file system | Read-only file system\n", "first gunicorn\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			run := "test-options-" + filepath.Base(t.TempDir())
			stack := running(t, r, run, stackstest.Spec(t, run, stackstest.Gunicorn, func(p *scenarios.Plan) { test.change(&p.App) }))
			out, err := stack.Exec(t.Context(), stacks.AppService, "python3", "-c", look)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

// TestContainerEntrypoint: an image's own entry point is left out, or another is put in
// its place.
func TestContainerEntrypoint(t *testing.T) {
	r := engine(t)
	image := contextOf(t, map[string]string{"Dockerfile": "FROM " + BaseImage + "\nENTRYPOINT [\"/bin/false\"]\nCMD [\"sleep\", \"60\"]\n"})
	if _, err := built(t, r, image); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		entrypoint []string
		argv       []string
		want       string // of the process below the init process; empty: it ends
	}{
		"the image's":         {nil, nil, ""},
		"none":                {[]string{}, nil, "sleep 60"},
		"a command":           {nil, []string{"sleep", "61"}, "sleep 61"},
		"in front of command": {[]string{"nice", "-n", "5"}, []string{"sleep", "62"}, "sleep 62"},
	} {
		t.Run(name, func(t *testing.T) {
			run := "test-entry-" + filepath.Base(t.TempDir())
			topology := scenarios.Topology{Name: "entry", Server: scenarios.ServerServices, Services: []scenarios.Service{{Name: "one", Command: test.argv, Port: 8000}}}
			spec := stackstest.Spec(t, run, topology, func(p *scenarios.Plan) {
				p.App.Build, p.App.Entrypoint = &image, test.entrypoint
				p.App.Ready = ready.Probe{}
			})
			if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
				t.Fatal(err)
			}
			stack, err := r.Start(t.Context(), spec)
			if err == nil {
				defer stack.Stop(t.Context())
				var all []stacks.Process
				var failed error
				runs := func() bool { return len(all) > 0 && strings.HasSuffix(all[len(all)-1].Command, test.want) }
				// Just after the start it may be what is to become the command yet.
				for deadline := time.Now().Add(10 * time.Second); failed == nil && test.want != "" && !runs() && time.Now().Before(deadline); {
					var facts stacks.Facts
					if facts, failed = stack.Inspect(t.Context()); failed == nil {
						all = facts.Services[0].Processes
					}
				}
				if failed == nil && test.want != "" && !runs() {
					t.Errorf("%+v", all)
				}
				for deadline := time.Now().Add(10 * time.Second); test.want == "" && failed == nil && time.Now().Before(deadline); {
					failed = stack.Check(t.Context())
				}
				err = failed
			}
			if (err == nil) != (test.want != "") {
				t.Errorf("it runs: %v", err)
			}
		})
	}
}

// reads tells what a container can do with what is mounted.
const reads = `import os
print("weights", open("/models/weights.bin").read())
for path in ("/models/weights.bin", "/models/new", "/models/deeper/new"):
    try:
        open(path, "a").close()
        print("written", path)
    except OSError as error:
        print(error.strerror)
print("link", os.path.exists("/models/out"), os.listdir("/models"))
`

// TestThreat1Mounts: a container reads what is mounted, writes nothing of it, and gets
// no further by a link in it; what has been exchanged for a link since it was allowed is
// not mounted, and neither is what an engine is reached by.
func TestThreat1Mounts(t *testing.T) {
	r := engine(t)
	allowed, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	models := filepath.Join(allowed, "models")
	secret := filepath.Join(allowed, "secret.txt")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(models, "deeper"), 0o777), os.WriteFile(secret, []byte("secret"), 0o644),
		os.WriteFile(filepath.Join(models, "weights.bin"), []byte("0.5"), 0o666), os.Symlink(secret, filepath.Join(models, "out")),
		os.Chmod(allowed, 0o755), os.Chmod(models, 0o777), os.Chmod(filepath.Join(models, "weights.bin"), 0o666), os.Chmod(filepath.Join(models, "deeper"), 0o777),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run := "test-mounts-" + filepath.Base(t.TempDir())
	spec := func(from string) stacks.Spec {
		return stackstest.Spec(t, run, stackstest.Flask, func(p *scenarios.Plan) { p.App.Mounts = []options.Mount{{From: from, To: "/models"}} })
	}
	t.Run("is read", func(t *testing.T) {
		stack := running(t, r, run, spec(models))
		out, err := stack.Exec(t.Context(), stacks.AppService, "python3", "-c", reads)
		const refused = "Read-only file system\n"
		if want := "weights 0.5\n" + refused + refused + refused + "link False"; err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s, %v, want %s", out, err, want)
		}
	})
	t.Run("is exchanged", func(t *testing.T) {
		if err := os.Rename(models, models+".old"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc", models); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{models, filepath.Join(models, "ssl")} {
			stack, err := r.Start(t.Context(), spec(from))
			if err == nil {
				stack.Stop(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), "symbolic link by now") {
				t.Errorf("%s: %v", from, err)
			}
		}
		if left, err := r.leftovers(t.Context(), run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	t.Run("is exchanged at the last moment", func(t *testing.T) {
		found, err := os.Stat(secret)
		if err != nil {
			t.Fatal(err)
		}
		for to, same := range map[string]bool{secret: true, models + ".old": false} {
			if err := exchanged(os.Getpid(), []os.FileInfo{found}, []options.Mount{{From: secret, To: to}}); (err == nil) != same {
				t.Errorf("%s: %v", to, err)
			}
		}
	})
	for _, from := range []string{"/", "/run"} {
		if err := r.Prepare(t.Context(), spec(from), func(string) {}); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "socket is, or may be, in it") {
			t.Errorf("%s: %v", from, err)
		}
	}
}
