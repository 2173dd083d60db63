// Package scenarios turns a scenario file into a plan.
//
// Loader.Load reads the file and checks that the files that it names exist.
// Everything after that is arithmetic: the same file and the same overrides give
// the same Plan. So `stackmeter plan` can print what a run would do, and a run
// can be resumed.
//
// Sizes are bytes. Paths are absolute; relative ones start in the folder of the
// scenario file.
package scenarios

import (
	"cmp"
	"encoding/json"
	"strconv"
	"strings"

	"stackmeter/scenarios/container"
	"stackmeter/scenarios/ready"
)

// Client modes of a load.
const (
	ClientSingle = "single" // one request after the other from one process
	ClientMP     = "mp"     // pool real processes
	ClientMT     = "mt"     // pool threads of one process
	ClientOpen   = "open"   // requests at their moments, whether earlier ones were answered or not
)

// Arrivals of an open loop.
const (
	ArrivalsConstant = "constant" // equal gaps
	ArrivalsPoisson  = "poisson"  // gaps by chance, as those of many independent users
)

// OpenPool is how many requests of an open loop may be under way at once unless
// an include says otherwise: more than a server that keeps up ever needs, and a
// bound for one that does not keep up.
const OpenPool = 512

// Servers of a topology, besides those that a Loader is given.
const (
	ServerCommand  = "command"  // any argv of the user's
	ServerServices = "services" // any set of services of the user's
	ServerExisting = "existing" // whatever it is, it is there already
)

// GPU modes of a scenario's resources.
const (
	GPUAuto     = "auto"     // a GPU when the machine has one, and the result says which it was
	GPURequired = "required" // refuse before anything starts when there is none
	GPUOff      = "off"
)

// Values of Plan.Fresh: how long one stack lives.
const (
	FreshTopology = "topology" // one stack for all the cells of a topology and repeat
	FreshCell     = "cell"     // a new stack for each cell
	FreshRun      = "run"      // stacks stay up, and each repeat is a round over all of them
)

// Values of Plan.Order.
const (
	OrderShuffle = "shuffle" // the trials of a repeat are shuffled by Plan.Seed
	OrderListed  = "listed"
)

// Client engines.
const (
	EngineNative         = "native"
	EnginePythonRequests = "python-requests"
)

// A Scenario is a checked scenario file, with every default filled in and every
// axis expanded.
type Scenario struct {
	File       string     // as it was given to Load
	settings              // what its plan has without trials
	Topologies []Topology // expanded, in the order in which the file lists them
	Loads      []LoadSpec // expanded matrix, in the order in which the file lists it
	Warnings   []string   // what is allowed and probably not meant, each with its place
}

// settings are a Plan without trials, and without its methods.
type settings Plan

// An App is the user's application: Image or Build, never both. Dir and Venv
// are for local processes, which have no image.
type App struct {
	Image string            `json:"image,omitempty"`
	Build *Build            `json:"build,omitempty"`
	Dir   string            `json:"dir,omitempty"`  // absolute folder of the app; the build's context when empty
	Venv  string            `json:"venv,omitempty"` // absolute folder of a virtual environment, which need not exist here
	WSGI  string            `json:"wsgi,omitempty"` // module:callable
	ASGI  string            `json:"asgi,omitempty"` // module:callable
	Env   map[string]string `json:"env,omitempty"`
	Port  int               `json:"port"`
	Ready ready.Probe       `json:"ready"`
	container.Options
}

// A Build is a container build context on this machine.
type Build struct {
	Context    string            `json:"context"`              // absolute folder
	Dockerfile string            `json:"dockerfile,omitempty"` // relative to Context; "Dockerfile" when empty
	Target     string            `json:"target,omitempty"`     // the stage that becomes the image; the last one when empty
	Args       map[string]string `json:"args,omitempty"`

	// Secrets are what RUN --mount=type=secret,id=NAME sees, by name. The image
	// does not keep them.
	Secrets map[string]BuildSecret `json:"secrets,omitempty"`
}

// A BuildSecret is where a secret of a build comes from: one of the two.
type BuildSecret struct {
	File string `json:"file,omitempty"` // absolute
	Env  string `json:"env,omitempty"`  // a variable of the operator's, given by --env
}

// Resources are what each service of a stack may use.
type Resources struct {
	GPU    GPU     `json:"gpu"`
	CPUs   float64 `json:"cpus,omitempty"`   // 0: no limit
	Memory int64   `json:"memory,omitempty"` // bytes; 0: no limit
	Cpuset string  `json:"cpuset,omitempty"` // the cores that they may use, as units.ParseCpuset reads it; empty: any
}

// Of are the resources of each service of a topology.
func (r Resources) Of(t Topology) Resources {
	r.CPUs, r.Memory = cmp.Or(t.CPUs, r.CPUs), cmp.Or(t.Memory, r.Memory)
	r.GPU.Product = cmp.Or(t.GPUProduct, r.GPU.Product)
	return r
}

// GPU says which devices a stack gets. Count and Devices exclude each other.
type GPU struct {
	Mode    string   `json:"mode"`
	Count   int      `json:"count,omitempty"`   // AllGPUs for all of them
	Devices []string `json:"devices,omitempty"` // UUIDs or indices
	Product string   `json:"product,omitempty"` // of the devices, as ProductName has it; empty: any
	MIG     string   `json:"mig,omitempty"`     // of a cluster: the profile of MIG instances, of which Count are counted; empty: whole GPUs
	MPS     *MPS     `json:"mps,omitempty"`     // nil: each process has the device to itself, in turn with the others
}

// Resource is what NVIDIA's device plugin for Kubernetes calls such devices: GPUs, or MIG
// instances of a profile where it is told to tell these apart (its strategy "mixed").
func (g GPU) Resource() string {
	if g.MIG != "" {
		return "nvidia.com/mig-" + g.MIG
	}
	return "nvidia.com/gpu"
}

// ProductLabel is the label by which NVIDIA's GPU feature discovery says what the GPUs of
// a node are.
const ProductLabel = "nvidia.com/gpu.product"

// ProductName is the name of a device as ProductLabel has it: "NVIDIA H100 80GB HBM3" with
// hyphens.
func ProductName(name string) string { return strings.Join(strings.Fields(name), "-") }

// MPS lets the processes of a stack compute on a device at the same time, through
// NVIDIA's Multi-Process Service. Its control daemon belongs to the machine;
// stackmeter neither starts nor stops it. The limits hold for each process, so
// gunicorn's w4 has four times as much. They are CUDA_MPS_ACTIVE_THREAD_PERCENTAGE
// and CUDA_MPS_PINNED_DEVICE_MEM_LIMIT of https://docs.nvidia.com/deploy/mps/.
type MPS struct {
	ActiveThreads float64 `json:"active_threads,omitempty"` // percent of the device's threads; 0: no limit
	Memory        int64   `json:"memory,omitempty"`         // bytes on each device, in whole MiB; 0: no limit
}

// AutoLanes is the Plan.Lanes of `lanes: auto`.
const AutoLanes = -1

// AllGPUs is the GPU.Count of `count: all`.
const AllGPUs = -1

// A Topology is one way of serving the app. Workers, Threads and Concurrency are 0
// if the server has no such number.
type Topology struct {
	Name        string            `json:"name"` // nginx+gunicorn-w1-t4
	Server      string            `json:"server"`
	Class       string            `json:"class,omitempty"` // of the server; empty: the usual one
	Workers     int               `json:"workers,omitempty"`
	Threads     int               `json:"threads,omitempty"`
	Concurrency int               `json:"concurrency,omitempty"` // requests that a worker takes at once
	Settings    map[string]string `json:"settings,omitempty"`    // keys that only this server has, in base units

	ServerOptions map[string]string `json:"options,omitempty"` // further ones of the server's command line, without hyphens

	Proxy         string            `json:"proxy,omitempty"` // in front of the server; empty: none
	ProxySettings map[string]string `json:"proxy_settings,omitempty"`
	Unix          bool              `json:"unix,omitempty"`     // between the two is a unix socket
	Replicas      int               `json:"replicas,omitempty"` // of the app behind the proxy; 0: one

	TLS      bool              `json:"tls,omitempty"`     // where the client connects, HTTPS is spoken
	Command  []string          `json:"command,omitempty"` // addresses unfilled: {host}, {port}; {{ and }} are braces
	Image    string            `json:"image,omitempty"`   // instead of the app's
	Env      map[string]string `json:"env,omitempty"`     // on top of the app's
	Services []Service         `json:"services,omitempty"`
	CPUs     float64           `json:"cpus,omitempty"`   // of each service, instead of Resources.CPUs
	Memory   int64             `json:"memory,omitempty"` // bytes of each service, instead of Resources.Memory

	GPUProduct string `json:"gpu_product,omitempty"` // instead of Resources.GPU.Product
	container.Options

	// Axes are the values that the topology has of axes other than workers and
	// threads, by their names: class, proxy, env.BATCH.
	Axes map[string]string `json:"axes,omitempty"`
}

// UnmarshalJSON reads a topology. Where there was only nginx to be in front of a
// server, stores and results said nginx: true.
func (t *Topology) UnmarshalJSON(text []byte) error {
	type plain Topology
	old := struct{ Nginx bool }{}
	if err := json.Unmarshal(text, (*plain)(t)); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &old); err != nil {
		return err
	}
	if old.Nginx {
		t.SetAxes(true, nil)
	}
	return nil
}

// SetAxes gives the topology of a result what the result says of its axes. Where
// there was only nginx to be in front of a server, it says so alone.
func (t *Topology) SetAxes(nginxAlone bool, axes map[string]string) {
	if nginxAlone && axes == nil {
		axes = map[string]string{"proxy": nginx}
	}
	t.Axes, t.Class, t.Proxy, t.Unix = axes, axes["class"], axes["proxy"], axes["unix"] != ""
	t.Concurrency, _ = strconv.Atoi(axes[placeConcurrency])
	t.Replicas, _ = strconv.Atoi(axes[keyReplicas])
}

const nginx = "nginx"

// Nginx reports whether nginx is in front of the server: results have a column for it.
func (t Topology) Nginx() bool { return t.Proxy == nginx }

// A Service is one process tree of a custom topology. Services reach each other by
// name in the stack's private network. The client connects to the last one.
type Service struct {
	Name    string            `json:"name"`
	Image   string            `json:"image,omitempty"`   // the app's when empty
	Command []string          `json:"command,omitempty"` // addresses unfilled, as in Topology, and {host:NAME}, {port:NAME}
	Env     map[string]string `json:"env,omitempty"`
	Port    int               `json:"port"`
	container.Options
}

// Client chooses the load client.
type Client struct {
	Engine string `json:"engine"`
	Cpuset string `json:"cpuset,omitempty"` // the cores that its processes may use, as units.ParseCpuset reads it; empty: any
	Node   string `json:"node,omitempty"`   // of a cluster: NodeOther or NodeSame; empty: another one than the stack's if there is one
	Cores  int    `json:"cores,omitempty"`  // of a cluster: how many its Pod has; 0: one
}

// Nodes of a cluster that a client can be on, seen from the stack.
const (
	NodeOther = "other"
	NodeSame  = "same"
)

// A Baseline selects the cells that ratios refer to, by the name of the topology
// and the client mode. An empty field matches everything.
type Baseline struct {
	Topology string `json:"topology,omitempty"`
	Client   string `json:"client,omitempty"` // single, mp, mt, or with a pool: mt5
}

// Takes reports whether the baseline's client is that of a load.
func (b Baseline) Takes(load LoadSpec) bool {
	return b.Client == "" || b.Client == load.Client || b.Client == load.Mode()
}

// Until ends the repeats of a trial early: once each of its cells has at least Min
// repeats, and the interval of its median duration reaches no further than Within
// on either side.
type Until struct {
	Min    int     `json:"min"`
	Within float64 `json:"within"` // as a share of the median: 0.05
}

// IntervalRepeats is how many repeats a 95% interval of the median takes, see
// stats.RepeatsForInterval. With fewer, Until could never be met.
const IntervalRepeats = 6
