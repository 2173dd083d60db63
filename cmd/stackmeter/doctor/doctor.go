// Package doctor looks at what this machine has and lacks for a run, and says what
// to do.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/lock"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/process"
)

// A finding is one thing that doctor looked at.
type finding struct {
	what   string
	state  string // ok, missing, note
	text   string
	remedy string // what to do, when it is not ok
}

const (
	stateOK      = "ok"
	stateNote    = "note"    // a run works without it and says so
	stateMissing = "missing" // a run fails without it
)

// looked is the finding about something that a run can do without: ok with a text,
// or a note with the error and what to do.
func looked(what string, err error, text, remedy string) finding {
	if err != nil {
		return finding{what, stateNote, err.Error(), remedy}
	}
	return finding{what: what, state: stateOK, text: text}
}

// minDisk is what images, containers and the store need at least. The sample app's
// image has 1.7 GB.
const minDisk = 5 << 30

var errMissing = errors.New("this machine lacks something that a run needs")

// A Store is what was found of the store that runs would write to.
type Store struct {
	Text   string // what it is and holds
	Err    error  // why runs cannot use it
	Folder string // where its file is or will be; empty: it is no file
}

// Run looks at the machine and writes what it found. nvml is the file of the GPUs'
// driver, or empty.
func Run(ctx context.Context, w io.Writer, store Store, nvml string) error {
	findings := slices.Concat(engineFindings(ctx), storeFindings(store), machineFindings(), gpuFindings(ctx, nvml), processFindings(), lockFindings())
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	missing := false
	for _, f := range findings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.state, f.what, f.text)
		if f.remedy != "" {
			fmt.Fprintf(table, "\t\t→ %s\n", f.remedy)
		}
		missing = missing || f.state == stateMissing
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if missing {
		return errMissing
	}
	return nil
}

func engineFindings(ctx context.Context) []finding {
	engine, err := docker.New()
	if err == nil {
		defer engine.Close()
		err = engine.Check(ctx)
	}
	if err != nil {
		return []finding{{"engine", stateMissing, err.Error(), "or run without one: --runtime process"}}
	}
	found := []finding{{what: "engine", state: stateOK, text: engine.Describe(ctx)}}
	if root, err := engine.Root(ctx); err == nil {
		found = append(found, diskFinding("disk of the engine", root))
	}
	if id := engine.Image(ctx, docker.BaseImage); id != "" {
		found = append(found, finding{what: "base image", state: stateOK, text: docker.BaseImage + " " + id[:min(19, len(id))]})
	} else {
		found = append(found, finding{"base image", stateNote, docker.BaseImage + " is not in the engine",
			"stacks/images/prepare makes it; if a registry can be reached, the first build pulls it"})
	}
	built, err := engine.Built(ctx)
	switch {
	case err != nil:
		found = append(found, finding{"built images", stateNote, err.Error(), ""})
	case len(built) == 0:
		found = append(found, finding{what: "built images", state: stateNote, text: "none yet; the first run builds what its scenario needs"})
	}
	for _, tag := range built {
		found = append(found, finding{what: "built image", state: stateOK, text: tag})
	}
	if support, ok := engine.GPUSupport(ctx); ok {
		found = append(found, finding{what: "GPU containers", state: stateOK, text: support})
	} else {
		found = append(found, finding{"GPU containers", stateNote, support + "; each run tries it before its first trial",
			"if this machine has a GPU: install the NVIDIA Container Toolkit and restart the engine, or write a CDI specification (nvidia-ctk cdi generate)"})
	}
	left, err := engine.Leftovers(ctx)
	return append(found, leftovers("left in the engine", left, err))
}

// mostLeft is how many things a killed run left that are named.
const mostLeft = 5

// leftovers says what killed runs left.
func leftovers(what string, names []string, err error) finding {
	switch {
	case err != nil:
		return finding{what, stateNote, err.Error(), ""}
	case len(names) == 0:
		return finding{what: what, state: stateOK, text: "nothing"}
	}
	text := strings.Join(names[:min(len(names), mostLeft)], ", ")
	if more := len(names) - mostLeft; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return finding{what, stateNote, show.Clean(text), "a killed run left that: stackmeter clean removes it, and so does the next run"}
}

func storeFindings(store Store) []finding {
	found := []finding{{what: "store", state: stateOK, text: show.Line(store.Text)}}
	if store.Err != nil {
		found[0].state, found[0].text = stateMissing, show.Line(store.Err.Error())
	}
	if store.Folder != "" {
		found = append(found, diskFinding("disk of the store", store.Folder))
	}
	return found
}

func machineFindings() []finding {
	var found []finding
	cores := finding{what: "cores", state: stateOK, text: fmt.Sprint(runtime.NumCPU())}
	if runtime.NumCPU() < 2 {
		cores.state, cores.remedy = stateNote, "the client shares its only core with what it measures"
	}
	found = append(found, cores)
	_, err := cgroup.Of(os.Getpid())
	found = append(found, looked("control groups", err, "memory and CPU time can be read", "without them the results have no memory and no CPU time of stacks"))
	_, err = exec.LookPath("ps")
	return append(found, looked("ps", err, "there", "where stackmeter does not see the processes of containers itself, the engine needs it to list them: install procps"))
}

// diskFinding looks at the file system of a folder. The engine's may be on another
// machine and cannot be seen then.
func diskFinding(what, path string) finding {
	free, err := machine.FreeSpace(path)
	f := looked(what, err, fmt.Sprintf("%s has %.1f GiB free", path, float64(free)/(1<<30)), "")
	if err == nil && free < minDisk {
		f.state, f.remedy = stateNote, "images and results may not fit; free some space"
	}
	return f
}

// processFindings list what --runtime process would use.
func processFindings() []finding {
	local, err := process.New()
	if err != nil {
		return []finding{{"local processes", stateNote, err.Error(), ""}}
	}
	defer local.Close()
	var found []finding
	for _, program := range local.Programs() {
		f := finding{what: "local " + program.Name, state: stateOK, text: program.Path}
		if program.Path == "" {
			f.state, f.text, f.remedy = stateNote, "not on this machine; --runtime process needs it for topologies that use it", program.Remedy
		}
		found = append(found, f)
	}
	left, err := local.Leftovers()
	found = append(found, leftovers("left of local runs", left, err))
	if err := local.Ungrouped(); err != nil {
		found = append(found, finding{"local limits", stateNote, err.Error(), "without control groups, local processes are measured through /proc and cannot be limited"})
	}
	return found
}

// gpuFindings list the devices and who holds memory on them, which a run would wait
// for.
func gpuFindings(ctx context.Context, nvml string) []finding {
	g, err := machine.OpenGPUs(ctx, nvml, true)
	if err != nil {
		return []finding{{"GPU", stateNote, err.Error(), ""}}
	}
	defer g.Close()
	if len(g.Devices) == 0 {
		return []finding{{"GPU", stateNote, g.Reason, "runs then measure main memory; a scenario with gpu.mode: required is refused"}}
	}
	shots, err := g.Sampler.Snapshot(ctx, nil)
	if err != nil {
		return []finding{{"GPU", stateNote, err.Error(), "see whether nvidia-smi answers"}}
	}
	var found []finding
	for _, s := range shots {
		found = append(found, deviceFindings(s)...)
	}
	pipes := stacks.MPSPipes()
	return append(found, looked("MPS", stacks.CheckMPS(pipes), "a control daemon listens in "+pipes+"; a scenario uses it with resources.gpu.mps", ""))
}

func deviceFindings(s gpu.Snapshot) []finding {
	d := s.Device
	what := fmt.Sprintf("GPU %d", d.Index)
	if d.Parent != "" {
		what += " instance"
	}
	text := fmt.Sprintf("%s %s, %d MiB, driver %s", d.Name, d.UUID, d.Memory>>20, d.Driver)
	if s.Memory != nil {
		text += fmt.Sprintf("; %d MiB in use", s.Memory.Used>>20)
	}
	found := []finding{{what: what, state: stateOK, text: text}}
	dirt := gpu.Dirt([]gpu.Snapshot{s}, nil)
	for i, text := range dirt {
		f := finding{what: what, state: stateNote, text: text}
		if i == len(dirt)-1 {
			f.remedy = "a run waits for a clean GPU and then refuses; end what holds it, or choose another one (resources.gpu.devices)"
		}
		found = append(found, f)
	}
	if s.ProcessReason != "" {
		found = append(found, finding{what, stateNote, s.ProcessReason, "processes cannot be told apart here; run stackmeter on the host itself"})
	}
	return found
}

// lockFindings say who is measuring on this machine.
func lockFindings() []finding {
	folder, err := lock.Folder()
	if err != nil {
		return []finding{{"locks", stateMissing, err.Error(), ""}}
	}
	states, err := lock.List(folder)
	if err != nil {
		return []finding{{"locks", stateNote, err.Error(), ""}}
	}
	var found []finding
	for _, s := range states {
		if s.Holder == nil {
			continue // left by a process that was killed
		}
		held := lock.HeldError{Name: s.Name, Holder: *s.Holder}
		found = append(found, finding{"locks", stateNote, show.Clean(held.Error()), "a run that needs the same one waits with --wait, and is refused without it"})
	}
	if len(found) == 0 {
		found = append(found, finding{what: "locks", state: stateOK, text: "no run is under way (" + folder + ")"})
	}
	return found
}
