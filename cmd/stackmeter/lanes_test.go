package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
)

// lanesTries is how often lanes are tried again that disturbed each other where nothing but
// how busy the machine is can be the reason.
const lanesTries = 2

// disturbed reports whether lanes were found to disturb each other.
func disturbed(l *results.Lanes) bool { return l != nil && l.Check != nil && l.Off != "" }

// TestFakeGPULanes measures on several (FAKE) devices side by side, and the last
// one is lost amid the first cell on it. What began on it has failed and says why, the
// other lanes measure the rest, and each record has the lane and the memory of its device.
func TestFakeGPULanes(t *testing.T) {
	eachFakeGPU(t, func(t *testing.T, f *fakeGPU, toolkit *fakeToolkit) {
		several := []int{4}
		if toolkit == nil {
			t.Parallel() // it mostly waits, as with containers
			several = []int{2, 4}
		}
		tries := 0
		for at := 0; at < len(several); at++ {
			lanes := several[at]
			devices := fakedriver.New(t, lanes).Devices
			f.state.Devices = devices
			f.write()
			var notes []string
			begun := false
			result := f.run(fmt.Sprintf(`lanes: %d
topologies: [gunicorn w1/t1, gunicorn w1/t2, nginx + gunicorn w1/t1, gunicorn w2/t1, gunicorn w1/t3]
matrix: {requests: [5], client: [single, mt], pool: [2]}
warmup: 2
repeats: 1
`, lanes), func(e orchestrator.Event) {
				switch {
				case e.Kind == orchestrator.EventNote:
					notes = append(notes, e.Message)
				case e.Kind == orchestrator.EventRun: // the lanes were checked
					begun = true
				case begun && e.Kind == orchestrator.EventProgress && e.Lane == lanes && !devices[lanes-1].Lost:
					devices[lanes-1].Lost = true
					f.write()
				}
			}, "--set", "request.path=/predict?ms=400")
			if disturbed(result.Run.Lanes) && tries < lanesTries {
				t.Logf("again, because the machine is busy: %s", result.Run.Lanes.Off)
				tries, at = tries+1, at-1
				continue
			}
			if len(result.Cells) != 10 || result.Run.Lanes == nil || result.Run.Lanes.Off != "" || len(result.Run.Lanes.Have) != lanes {
				t.Fatalf("%d lanes: %d cells, %+v\n%s\n%s", lanes, len(result.Cells), result.Run.Lanes, strings.Join(notes, "\n"), f.said)
			}
			measured, lost := map[int]int{}, 0
			for _, c := range result.Cells {
				if c.Lane < 1 || c.Lane > lanes {
					t.Fatalf("%s, repeat %d: lane %d", c.Cell, c.Repeat, c.Lane)
				}
				measured[c.Lane]++
				if have := result.Run.Lanes.Have[c.Lane-1].Devices; !slices.Equal(have, []string{devices[c.Lane-1].UUID}) {
					t.Errorf("lane %d has %v", c.Lane, have)
				}
				if c.Lane == lanes {
					switch {
					case c.Status == results.StatusFailed && strings.Contains(c.Reason, gpu.CodeGPULost) && c.Duration == nil:
						lost++
					case c.Status != results.StatusOK || c.GPU.Peak != nil || !strings.Contains(c.GPU.Reason, gpu.CodeGPULost):
						t.Errorf("%s on the device that was lost: %s, peak %s, %q %q", c.Cell, c.Status, figure(c.GPU.Peak), c.Reason, c.GPU.Reason)
					}
					continue
				}
				if used := c.GPU.Detail.Devices; c.Status != results.StatusOK || c.Duration == nil || len(used) != 1 || used[0].UUID != devices[c.Lane-1].UUID {
					t.Errorf("%s, repeat %d on lane %d: %s %s, devices %+v", c.Cell, c.Repeat, c.Lane, c.Status, c.Reason, used)
				}
				processes, threads := int64(1), int64(1)
				switch {
				case strings.Contains(c.Cell, "-t2"):
					threads = 2
				case strings.Contains(c.Cell, "-t3"):
					threads = 3
				case strings.Contains(c.Cell, "-w2"):
					processes = 2
				}
				most, least := processes*(fakeProcess+threads*fakeThread), processes*fakeProcess+fakeThread
				if peak := c.GPU.Stack; peak == nil || *peak > float64(most/mib) || *peak < float64(least/mib) || c.GPU.Peak == nil || *c.GPU.Peak != *peak+float64(fakeBase/mib) || slices.Contains(c.Flags, gpu.FlagForeign) {
					t.Errorf("%s on lane %d: %s MiB of the stack, %s in use; want %d to %d: %s %v", c.Cell, c.Lane, figure(peak), figure(c.GPU.Peak), least/mib, most/mib, c.GPU.Reason, c.Flags)
				}
			}
			if len(measured) != lanes || lost == 0 || measured[lanes] > 2 {
				t.Errorf("records by lane: %v, of which %d failed for the device", measured, lost)
			}
			if !slices.ContainsFunc(notes, func(n string) bool {
				return strings.Contains(n, fmt.Sprintf("lane %d measures nothing more, because %s does not answer", lanes, devices[lanes-1].UUID))
			}) {
				t.Errorf("nobody was told of the lost device: %v", notes)
			}
			if toolkit != nil {
				given := map[string]bool{}
				for _, asked := range toolkit.asked {
					given[strings.Join(asked, " ")] = true
				}
				for _, d := range devices {
					if !given[d.UUID] {
						t.Errorf("no container had %s: %v", d.UUID, slices.Collect(maps.Keys(given)))
					}
				}
			}
		}
	})
}

// TestFakeGPULostInTheCheck: a lane whose device is lost while the lanes are checked is left
// out, and the others are checked again.
func TestFakeGPULostInTheCheck(t *testing.T) {
	f := newFakeGPU(t)
	t.Parallel() // it mostly waits
	for _, test := range []struct{ devices, lanes int }{{3, 2}, {2, 1}} {
		f.state.Devices = fakedriver.New(t, test.devices).Devices
		f.write()
		said := ""
		result := f.run("lanes: auto\ntopologies: [gunicorn w1/t1, gunicorn w1/t2, gunicorn w2/t1]\nmatrix: {requests: [5], client: [single]}\n", func(e orchestrator.Event) {
			said += e.Message + "\n"
			if e.Kind == orchestrator.EventProgress && !f.state.Devices[0].Lost {
				f.state.Devices[0].Lost = true
				f.write()
			}
		}, "--set", "request.path=/predict?ms=400")
		l := result.Run.Lanes
		if test.lanes == 2 && len(result.Cells) == 3 && l != nil && l.Check != nil && l.Check.Lanes == 2 && strings.Contains(l.Off, "with the other lanes busy") {
			t.Logf("whether the other two disturb each other is the machine's to say: %s", l.Off)
		} else if len(result.Cells) != 3 || l == nil || len(l.Have) != test.lanes || !slices.Equal(l.Have[0].Devices, []string{f.state.Devices[1].UUID}) || (l.Off != "") != (test.lanes == 1) {
			t.Fatalf("%d devices: %d cells, %+v\n%s\n%s", test.devices, len(result.Cells), l, said, f.said)
		}
		for _, c := range result.Cells {
			if c.Status != results.StatusOK || c.GPU.Peak == nil || test.lanes == 1 && c.Lane != 0 {
				t.Errorf("%d devices: %s on lane %d: %s %s, %s MiB", test.devices, c.Cell, c.Lane, c.Status, c.Reason, figure(c.GPU.Peak))
			}
		}
		if want := "lane 1 is left out, because " + f.state.Devices[0].UUID + " does not answer"; !strings.Contains(said, want) || test.lanes == 1 && !strings.Contains(l.Off, "only the devices of one answer") {
			t.Errorf("%d devices: %q\n%s", test.devices, l.Off, said)
		}
	}
}

// Two of these that lock the same file answer one after the other.
const lockingServer = `import fcntl, sys, time, http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(sys.argv[2], "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            time.sleep(0.1)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
`

// TestLanesThatDisturb runs local stacks on two lanes. Where they have something in common
// that one at a time can have, one lane measures, and whatever prints the run says why;
// where they have not, two do.
func TestLanesThatDisturb(t *testing.T) {
	for name, test := range map[string]struct {
		files [2]string
		one   bool
	}{
		"in common": {[2]string{"all", "all"}, true},
		"apart":     {[2]string{"a", "b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			dir := t.TempDir()
			program := command(t, dir)
			scenario := fmt.Sprintf(`name: lanes
app: {dir: app, image: example/none, ready: {timeout: 20s}}
resources: {gpu: {mode: "off"}}
topologies:
  - {name: a, command: [python3, serve.py, "{port}", %s]}
  - {name: b, command: [python3, serve.py, "{port}", %s]}
matrix: {requests: [5], client: [single]}
repeats: 2
warmup: 1
`, test.files[0], test.files[1])
			if err := errors.Join(os.Mkdir(filepath.Join(dir, "app"), 0o755), os.WriteFile(filepath.Join(dir, "app", "serve.py"), []byte(lockingServer), 0o644),
				os.WriteFile(filepath.Join(dir, "lanes.yaml"), []byte(scenario), 0o644)); err != nil {
				t.Fatal(err)
			}
			stackmeter := func(line string) string {
				cmd := exec.Command(program, strings.Fields(line)...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), lock.FolderVariable+"="+dir)
				printed, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v\n%s", line, err, printed)
				}
				return string(printed)
			}
			var said string
			var err error
			type outcome struct {
				Run   results.Run
				Cells []struct{ Lane int }
			}
			var result outcome
			for tries := 0; tries == 0 || !test.one && disturbed(result.Run.Lanes) && tries <= lanesTries; tries++ {
				said = stackmeter("run lanes.yaml --lanes 2 --runtime process --progress plain --json result.json")
				result = outcome{}
				var text []byte
				if text, err = os.ReadFile(filepath.Join(dir, "result.json")); err == nil {
					err = json.Unmarshal(text, &result)
				}
			}
			l := result.Run.Lanes
			if err != nil || l == nil || l.Check == nil || l.Check.Lanes != 2 || (l.Off != "") != test.one || len(result.Cells) != 4 {
				t.Fatalf("%v, %d cells, %+v\n%s", err, len(result.Cells), l, said)
			}
			lanes := map[int]int{}
			for _, cell := range result.Cells {
				lanes[cell.Lane]++
			}
			want := "2; a cell took"
			if test.one {
				want = "one, because with 2 a cell took"
			}
			if test.one && (len(lanes) != 1 || lanes[0] != 4 || l.Check.Ratio < 1.5 || l.Check.Low == nil || *l.Check.Low < 1.02) || !test.one && (len(lanes) != 2 || lanes[1] == 0 || lanes[2] == 0) {
				t.Errorf("cells by lane: %v, %+v", lanes, l.Check)
			}
			if !strings.Contains(said, "lanes: "+want) {
				t.Errorf("the run does not say %q:\n%s", want, said)
			}
			for _, format := range []string{"table", "markdown", "html"} {
				if printed := strings.Join(strings.Fields(stackmeter("report --format "+format)), " "); !strings.Contains(printed, want) {
					t.Errorf("%s does not say %q:\n%s", format, want, printed)
				}
			}
		})
	}
}
