package stacks

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/scenarios/container"
	"stackmeter/scenarios/ready"
	"stackmeter/scenarios/wire"
)

// A Spec describes one stack. Its services start in order, and the client
// connects to the last one.
type Spec struct {
	Run      string // the run that owns the stack; every object carries it as a label
	Name     string // the topology's name
	Topology scenarios.Topology
	GPU      scenarios.GPU // how many devices the stack gets, or which; the runtime chooses
	Services []Service
	Ready    ready.Probe // its headers are filled
	Path     string      // of the load's requests
	TLS      *wire.TLS   // how to verify the entry's certificate; nil: it speaks plain HTTP

	// Client is who will send loads to the stack, for a runtime that starts it beside the
	// stack. Its zero value: nobody that has to be started.
	Client scenarios.Client
}

// Scheme is the scheme of the stack's URL.
func (s Spec) Scheme() string {
	if s.TLS != nil {
		return "https"
	}
	return "http"
}

// Index finds a service by its name.
func (s Spec) Index(name string) (int, error) {
	i := slices.IndexFunc(s.Services, func(one Service) bool { return one.Name == name })
	if i < 0 {
		return i, fmt.Errorf("the stack has no service %q", name)
	}
	return i, nil
}

// Probed reports whether a line of a log is about a probe of WaitReady: an access
// line as most servers write it, or as uwsgi does.
func (s Spec) Probed(line string) bool {
	_, request, _ := strings.Cut(line, s.Ready.Asks()+" ")
	return strings.Contains(line, probeAgent) || s.Ready.Path != "" && s.Ready.Path != s.Path &&
		(strings.HasPrefix(request, "HTTP/") || strings.HasPrefix(request, "=> "))
}

// Answering are the names of the services that have to answer: the one that the client
// connects to, or those that stand behind it, several of which are replicas of the app.
func (s Spec) Answering() []string {
	if len(s.Services) == 0 {
		return nil // of a stack of which nothing is known
	}
	if proxy := s.Entry().Proxy; proxy != nil {
		return proxy.Upstreams
	}
	return []string{s.Entry().Name}
}

// Entry is the service that the client connects to.
func (s Spec) Entry() Service { return s.Services[len(s.Services)-1] }

// AppService is the name of the service that serves the app, unless the
// scenario names the services itself.
const AppService = "app"

// Roles of a service. They say what has to be read back of it.
const (
	RoleApp   = "app"   // serves the user's application; with replicas several do
	RoleProxy = "proxy" // stackmeter's own reverse proxy
	RoleOther = "other" // anything else in a custom set of services
)

// A Service is one process tree of a stack. Other services of the stack reach
// it by its Name.
type Service struct {
	Name      string
	Role      string
	Image     string           // a reference; empty when Build is set
	Build     *scenarios.Build // built by Runtime.Prepare
	Dir       string           // working directory of a local process; empty when only an image will do
	Venv      string           // virtual environment in which a local process looks for programs first; may be empty
	Command   []string         // argv with the placeholders that Argv fills; empty: the image's own command
	Module    string           // Python module that the program is too: python -m MODULE; empty for the scenario's own commands
	Debian    string           // Debian's packages of that program; empty likewise
	Needs     []Need           // what the command needs besides
	WSGI      string           // module:callable that a known server serves, also where it is ASGI
	Env       map[string]string
	Container container.Options // of a local process: what it can have of them
	Port      int               // TCP port to listen on, unless the runtime chooses one
	Unix      bool              // it listens on a Unix socket that it shares with the proxy, {socket}, and on no port
	Proxy     *Proxy            // of a proxy: what it stands in front of, and how
	CPUs      float64           // 0: no limit
	Memory    int64             // bytes; 0: no limit
	Cores     []int             // cores of the machine that it may use; empty: all
	GPU       bool              // it gets the stack's devices
	GPUs      []string          // UUIDs of the devices that the runtime gave it
	MPS       *scenarios.MPS    // how it shares them; nil: without MPS
}

// A Need is something that a command finds at its start, or ends without.
type Need struct {
	Name   string
	Module bool   // the name is that of a Python module
	Sign   string // what is in the log where it is missing
	Debian string // Debian's package of it
}

// A Proxy is what a service needs that is a reverse proxy of stackmeter's own.
type Proxy struct {
	Software  string   // the name of its program, and of the folder in package images that its image is made from
	Upstreams []string // the services that get the requests
	Config    string   // its configuration file, with the placeholders of Text
}

// Declared is what an image says of itself.
type Declared struct {
	Command []string // its entry point and its command
	Env     map[string]string
	Labels  map[string]string
	Health  string // its health check, as one line; empty: it has none
	Ports   []int  // TCP ports that it exposes, sorted
}

// An Address is where a service listens.
type Address struct {
	Host   string
	Port   int
	Socket string // the path of the Unix socket that it listens on instead; empty: none
}

// String returns host:port.
func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(a.Port)) }

// A Site is where a runtime has put a service and those that it may connect to.
type Site struct {
	Listen Address
	Reach  map[string]Address // by the service's name
	Config string             // the path of a proxy's configuration
	Folder string             // an existing one that a proxy may write to
	Root   bool               // the service is started as root
}

// Environ lists the variables of some environments as NAME=VALUE, sorted. The
// last environment that has a variable counts.
func Environ(environments ...map[string]string) []string {
	all := map[string]string{}
	for _, one := range environments {
		maps.Copy(all, one)
	}
	var list []string
	for name, value := range all {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// Argv fills the placeholders of the service's command. {host} and {port} are
// the address to listen on, {socket} is the path of the socket to listen on instead,
// and {config} that of a proxy's configuration; {host:NAME} and {port:NAME} are where
// the service NAME is reached. {{ and }} become braces and never start a placeholder.
func (s Service) Argv(at Site) []string {
	if len(s.Command) == 0 {
		return nil
	}
	pairs := []string{"{{", "{", "}}", "}", "{host}", at.Listen.Host, "{port}", strconv.Itoa(at.Listen.Port), "{socket}", at.Listen.Socket, "{config}", at.Config}
	for name, a := range at.Reach {
		pairs = append(pairs, "{host:"+name+"}", a.Host, "{port:"+name+"}", strconv.Itoa(a.Port))
	}
	// A Replacer goes through the text once and never reads what it wrote.
	fill := strings.NewReplacer(pairs...)
	argv := make([]string, len(s.Command))
	for i, arg := range s.Command {
		argv[i] = fill.Replace(arg)
	}
	return argv
}

// Text fills the placeholders of the proxy's configuration. {listen}, {listen.host}
// and {port} are the address to listen on, {folder} is a folder to write to, and
// {upstream:NAME} and {socket:NAME} are where the service NAME is reached. Unless the
// proxy is started as root, {if root} makes a comment of the rest of its line. Other
// braces are the configuration's own.
func (p Proxy) Text(at Site) string {
	ifRoot := "# "
	if at.Root {
		ifRoot = ""
	}
	pairs := []string{"{listen}", at.Listen.String(), "{listen.host}", at.Listen.Host, "{port}", strconv.Itoa(at.Listen.Port), "{folder}", at.Folder, "{if root}", ifRoot}
	for name, a := range at.Reach {
		pairs = append(pairs, "{upstream:"+name+"}", a.String(), "{socket:"+name+"}", a.Socket)
	}
	return strings.NewReplacer(pairs...).Replace(p.Config)
}
