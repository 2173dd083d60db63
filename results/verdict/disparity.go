package verdict

import (
	"crypto/sha256"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// Kinds in which two runs can differ. Their figures are then not comparable.
const (
	kindGPU     = "gpu"     // another model, or another number of them
	kindDriver  = "driver"  // of the GPU
	kindCPU     = "cpu"     // of the machine: model or number of cores
	kindMemory  = "memory"  // main memory of the machine, by more than MemoryShare
	kindRuntime = "runtime" // docker or process
	kindLimits  = "limits"  // what each service may use
	kindClient  = "client"  // the load client's engine, and its cores
	kindRequest = "request" // what is sent
	kindPayload = "payload" // what the files that are sent hold
	kindApp     = "app"     // another image (not another tag of it) or callable
	kindFresh   = "fresh"   // a new stack for each topology or for each cell
	kindSource  = "source"  // measured here or imported
)

// Particulars of a machine in which two runs may differ and still be compared.
// A kernel update, for example, may be what the comparison is about.
const (
	noteHost   = "host"
	noteKernel = "kernel"
	noteEngine = "engine" // of the runtime, with its version
)

// memoryShare is the largest difference, as a share, between the main memories
// of machines of one kind. From boot to boot and from firmware to firmware the
// kernel finds a little more or less of it.
const memoryShare = 0.02

// Kinds lists them.
func Kinds() []string {
	return []string{kindGPU, kindDriver, kindCPU, kindMemory, kindRuntime, kindLimits, kindClient, kindRequest, kindPayload, kindApp, kindFresh, kindSource}
}

// A Disparity is one kind in which two runs differ. What a run does not say is
// no disparity: an imported file need not name its machine.
type Disparity struct {
	Kind string `json:"kind"`
	Base string `json:"base"`
	Head string `json:"head"`
}

func (d Disparity) String() string {
	return fmt.Sprintf("%s (%s against %s)", d.Kind, d.Base, d.Head)
}

// Disparities returns the kinds in which two runs differ, in the order of Kinds.
func Disparities(base, head results.Run) []Disparity {
	a, b := kindsOf(base), kindsOf(head)
	var found []Disparity
	for _, kind := range Kinds() {
		if kind == kindMemory && AlikeMemory(base.Host.Memory, head.Host.Memory) {
			continue
		}
		if a[kind] != b[kind] && a[kind] != "" && b[kind] != "" {
			found = append(found, Disparity{Kind: kind, Base: a[kind], Head: b[kind]})
		}
	}
	return found
}

// AlikeMemory reports whether machines with main memories of a and b bytes can
// be of one kind.
func AlikeMemory(a, b int64) bool {
	return math.Abs(float64(a-b)) <= memoryShare*float64(max(a, b))
}

// Notes returns what else differs between the machines of two runs and is no
// obstacle to comparing them. What a run does not say is left out.
func Notes(base, head results.Run) []Disparity {
	var notes []Disparity
	for _, n := range []Disparity{
		{noteHost, base.Host.Name, head.Host.Name},
		{noteKernel, base.Host.Kernel, head.Host.Kernel},
		{noteEngine, base.Host.Engine, head.Host.Engine},
		{kindMemory, memoryKind(base.Host), memoryKind(head.Host)},
	} {
		kind := n.Kind == kindMemory && !AlikeMemory(base.Host.Memory, head.Host.Memory)
		if n.Base != n.Head && n.Base != "" && n.Head != "" && !kind {
			notes = append(notes, n)
		}
	}
	return notes
}

func memoryKind(h results.Host) string {
	if h.Memory <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f GiB", float64(h.Memory)/(1<<30))
}

// kindsOf describes a run by kind.
func kindsOf(r results.Run) map[string]string {
	var names, drivers []string
	for _, device := range r.GPUDevices {
		if device.Node != "" && slices.Contains(names, device.Name) {
			continue // how many of a kind a cluster gave to stacks one after the other is chance
		}
		names = append(names, device.Name)
		drivers = append(drivers, device.Driver)
	}
	slices.Sort(names)
	slices.Sort(drivers)
	kinds := map[string]string{
		kindGPU:     strings.Join(names, ", "),
		kindDriver:  strings.Join(slices.Compact(drivers), ", "),
		kindRuntime: r.Runtime,
		kindClient:  r.Plan.Client.Engine,
		kindFresh:   r.Plan.Fresh,
		kindApp:     appKind(r.Plan.App),
		kindMemory:  memoryKind(r.Host),
		kindSource:  "measured by stackmeter",
	}
	if r.Imported != "" {
		kinds[kindSource] = "imported"
	}
	if r.Host.CPU != "" || r.Host.Cores > 0 {
		kinds[kindCPU] = fmt.Sprintf("%d × %s", r.Host.Cores, r.Host.CPU)
		if kinds[kindGPU] == "" {
			kinds[kindGPU] = "none" // the machine is known, and has none
		}
	}
	if r.Plan.Client.Cpuset != "" {
		kinds[kindClient] += " on cores " + r.Plan.Client.Cpuset
	}
	if r.Plan.Client.Cores > 0 {
		kinds[kindClient] += ", " + show.Plural(r.Plan.Client.Cores, "core")
	}
	if r.Plan.Client.Node != "" {
		kinds[kindClient] += ", node: " + r.Plan.Client.Node
	}
	if r.Plan.Client.Engine != "" { // the plan is known
		kinds[kindLimits] = limitsKind(r.Plan.Resources)
		kinds[kindRequest] = requestKind(r.Plan.Request)
		kinds[kindPayload] = payloadKind(r.Plan.PayloadFiles)
	}
	return kinds
}

func limitsKind(l scenarios.Resources) string {
	parts := []string{strings.Join(strings.Fields(strings.Join([]string{"gpu", l.GPU.Mode, l.GPU.Product, l.GPU.MIG}, " ")), " ")}
	if l.CPUs > 0 {
		parts = append(parts, fmt.Sprintf("%v CPUs", l.CPUs))
	}
	if l.Memory > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB", l.Memory>>20))
	}
	if l.Cpuset != "" {
		parts = append(parts, "cores "+l.Cpuset)
	}
	return strings.Join(parts, ", ")
}

// requestKind describes the request without the folders of its files, which
// differ between checkouts.
func requestKind(q wire.Request) string {
	text := q.Method + " " + q.Path
	files := func(names []string) string {
		var base []string
		for _, name := range names {
			base = append(base, path.Base(name))
		}
		return strings.Join(base, " ")
	}
	made := func(g *wire.Generate) string {
		if g == nil {
			return ""
		}
		return fmt.Sprintf("%d %s of %d×%d", g.Count, g.Kind, g.Width, g.Height)
	}
	switch {
	case q.Multipart != nil:
		text += " with " + files(q.Multipart.Files) + made(q.Multipart.Generate)
	case q.Body != nil:
		text += " with " + files(q.Body.Files) + made(q.Body.Generate)
	case len(q.JSON) > 0:
		text += " with " + string(q.JSON)
	}
	return text
}

// payloadKind is empty if the run has no files or does not say what they hold.
func payloadKind(files []wire.PayloadFile) string {
	if len(files) == 0 {
		return ""
	}
	all := sha256.New()
	size := int64(0)
	for _, f := range files {
		fmt.Fprintln(all, f.Size, f.SHA256)
		size += f.Size
	}
	return fmt.Sprintf("%s, %d bytes, SHA-256 %.6x…", show.Plural(len(files), "file"), size, all.Sum(nil))
}

// appKind is the app without its version, because a comparison is often about
// two versions.
func appKind(a scenarios.App) string {
	image := a.Image
	if at := strings.IndexByte(image, '@'); at >= 0 {
		image = image[:at]
	}
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	if image == "" && a.Build != nil {
		image = "build of " + path.Base(a.Build.Context)
	}
	if a.WSGI != "" && image != "" {
		image += " " + a.WSGI
	}
	return image
}

// Without returns the disparities whose kind is not among kinds; "all" stands
// for every kind.
func Without(disparities []Disparity, kinds []string) []Disparity {
	if slices.Contains(kinds, "all") {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(disparities), func(d Disparity) bool { return slices.Contains(kinds, d.Kind) })
}
