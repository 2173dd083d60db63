package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/gpu"
	"stackmeter/stacks/docker"
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
	stateNote    = "note"    // a run works without it, and says so
	stateMissing = "missing" // a run fails without it
)

// minDisk is what images, containers and the store need at least: the sample
// app's image is 1.7 GB.
const minDisk = 5 << 30

var errDoctor = errors.New("something that a run needs is missing")

func (a *app) doctorCommand() *cobra.Command {
	var db string
	var gpus gpuOptions
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Look at what this machine has and lacks, and say what to do",
		Example: "  stackmeter doctor",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := append(engineFindings(cmd.Context()), machineFindings(db)...)
			findings = append(findings, gpuFindings(cmd.Context(), gpus)...)
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			missing := false
			for _, f := range findings {
				fmt.Fprintf(w, "%s\t%s\t%s\n", f.state, f.what, f.text)
				if f.remedy != "" {
					fmt.Fprintf(w, "\t\t→ %s\n", f.remedy)
				}
				missing = missing || f.state == stateMissing
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if missing {
				return errDoctor
			}
			return nil
		},
	}
	storeFlag(cmd, &db)
	gpuFlags(cmd, &gpus)
	return cmd
}

func engineFindings(ctx context.Context) []finding {
	engine, err := docker.New()
	if err == nil {
		defer engine.Close()
		err = engine.Check(ctx)
	}
	if err != nil {
		return []finding{{"engine", stateMissing, err.Error(), "as root, stacks/images/prepare installs and starts it"}}
	}
	found := []finding{{what: "engine", state: stateOK, text: engine.Describe(ctx)}}
	if id := engine.Image(ctx, docker.BaseImage); id != "" {
		found = append(found, finding{what: "base image", state: stateOK, text: docker.BaseImage + " " + id[:min(19, len(id))]})
	} else {
		found = append(found, finding{"base image", stateNote, docker.BaseImage + " is not in the engine",
			"stacks/images/prepare makes it; where a registry answers, the first build pulls it"})
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
	return found
}

func machineFindings(db string) []finding {
	var found []finding
	cores := finding{what: "cores", state: stateOK, text: fmt.Sprint(runtime.NumCPU())}
	if runtime.NumCPU() < 2 {
		cores.state, cores.remedy = stateNote, "the client shares the one core with what it measures"
	}
	found = append(found, cores)
	for _, at := range []struct{ what, path string }{{"disk of the store", filepath.Dir(db)}, {"disk of temporary files", "/tmp"}} {
		var fs unix.Statfs_t
		if err := unix.Statfs(at.path, &fs); err != nil {
			found = append(found, finding{at.what, stateMissing, err.Error(), "name a folder that is there with --db"})
			continue
		}
		free := int64(fs.Bavail) * int64(fs.Bsize)
		f := finding{what: at.what, state: stateOK, text: fmt.Sprintf("%s has %.1f GiB free", at.path, float64(free)/(1<<30))}
		if free < minDisk {
			f.state, f.remedy = stateNote, "images and results may not fit; free some space"
		}
		found = append(found, f)
	}
	if _, err := exec.LookPath("ps"); err != nil {
		found = append(found, finding{"ps", stateMissing, "not on this machine", "the engine needs it to list a container's processes: install procps"})
	} else {
		found = append(found, finding{what: "ps", state: stateOK, text: "there"})
	}
	return found
}

// gpuFindings are the devices, and who holds memory on them: what a run would
// wait for.
func gpuFindings(ctx context.Context, o gpuOptions) []finding {
	g, err := openGPU(o)
	if err != nil {
		return []finding{{"GPU", stateNote, err.Error(), ""}}
	}
	defer g.close()
	if len(g.devices) == 0 {
		return []finding{{"GPU", stateNote, g.reason, "memory is then the stack's main memory; a scenario with gpu.mode: required is refused"}}
	}
	shots, err := g.sampler.Snapshot(ctx, nil)
	if err != nil {
		return []finding{{"GPU", stateNote, err.Error(), "see whether nvidia-smi answers"}}
	}
	var found []finding
	for _, s := range shots {
		found = append(found, deviceFindings(s)...)
	}
	return found
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
	dirt := gpu.Dirt([]gpu.Snapshot{s}, nil, gpu.DefaultTolerance)
	for i, text := range dirt {
		f := finding{what: what, state: stateNote, text: text}
		if i == len(dirt)-1 {
			f.remedy = "a run waits for a clean GPU, and then refuses: end what holds it, or choose another one (resources.gpu.devices)"
		}
		found = append(found, f)
	}
	if s.ProcessReason != "" {
		found = append(found, finding{what, stateNote, s.ProcessReason, "no process can be told apart there; run stackmeter on the host itself"})
	}
	return found
}
