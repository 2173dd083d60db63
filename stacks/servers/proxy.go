package servers

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// Proxies lists the reverse proxies that a scenario can put in front of a server, in
// the order in which messages name them.
func Proxies() []Proxy { return []Proxy{nginx{}, haproxy{}, caddy{}} }

// proxyOf returns the proxy of a topology.
func proxyOf(name string) (Proxy, error) {
	for _, p := range Proxies() {
		if p.Program().Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no proxy is called %q", name)
}

// A Proxy is one reverse proxy. Its methods may be called by several goroutines at
// once.
type Proxy interface {
	// Program is what starts the proxy. Its name is the proxy's in scenarios, and that
	// of the folder of package images from which its image is made.
	Program() Program

	// Command starts the proxy in the foreground with the configuration {config}. It
	// listens with SO_REUSEADDR, and prints errors.
	Command() []string

	// Env is the proxy's environment.
	Env(Front) map[string]string

	// Socket is what the configuration has before the path of an upstream's socket.
	Socket() string

	// Config is the configuration, with the placeholders of stacks.Proxy.Text, for
	// upstreams with these addresses. Each request of the client becomes one to an
	// upstream, each of which has its turn, and it is the client that gives up first.
	Config(f Front, upstreams []string) string

	// Own is a configuration of the scenario's own as Config has it. {upstream} in it
	// stands for the addresses of the upstreams.
	Own(text string, upstreams []string) string

	// Loaded returns the configuration that the running proxy has. Its error wraps
	// stacks.ErrDiffers if there is none, or another.
	Loaded(ctx context.Context, stack stacks.Stack, proxy stacks.ServiceFacts) (string, error)
}

// A Front says how a proxy stands in front of a server.
type Front struct {
	Keepalive int           // idle connections to an upstream that are kept; 0: each request makes its own
	Workers   int           // of the proxy: processes or threads
	MaxBody   int64         // bytes of a request's body; 0: the usual limit
	Wait      time.Duration // how long a connection may be silent amid a request
}

// timeoutMargin is how much longer a proxy waits than the client: a request that
// takes too long is then always the client's time-out, and never the proxy's 504.
const timeoutMargin = 5 * time.Second

// maxConnect is the longest proxy_connect_timeout that nginx's documentation promises
// to keep.
const maxConnect = 75 * time.Second

// Seconds is Wait in whole seconds, rounded up.
func (f Front) Seconds() int64 { return wholeSeconds(f.Wait) }

// ConnectSeconds is how long a connection to an upstream may take to be made.
func (f Front) ConnectSeconds() int64 { return wholeSeconds(min(f.Wait, maxConnect)) }

func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// render fills the template of a proxy's configuration, which is a constant.
func (f Front) render(text string, upstreams []string) string {
	var b strings.Builder
	// A buffer takes everything, and the tests render every template.
	_ = template.Must(template.New("").Parse(text)).Execute(&b, struct {
		Front
		Upstreams []string
	}{f, upstreams})
	return b.String()
}

// eachUpstream repeats what has an {upstream}, as part finds it, for each of them, with
// its number from 1 for {replica}.
func eachUpstream(text string, part *regexp.Regexp, upstreams []string) string {
	return part.ReplaceAllStringFunc(text, func(found string) string {
		var b strings.Builder
		for i, address := range upstreams {
			b.WriteString(strings.NewReplacer("{upstream}", address, "{replica}", strconv.Itoa(i+1)).Replace(found))
		}
		return b.String()
	})
}

// proxyPort is where a proxy listens inside its container: a port that needs no
// privilege.
const proxyPort = 8080

// usualKeepalive is how many idle connections a proxy keeps to a server that keeps
// them, too.
const usualKeepalive = 32

// Settings of every proxy.
const (
	setKeepalive = "upstream_keepalive"
	setWorkers   = "workers"
	setMaxBody   = "max_body"
	setTimeout   = "timeout"
	setConfig    = "config"
)

// proxySyntax is how scenarios name a proxy and what they can say of it.
func proxySyntax(p Proxy) syntax.Proxy {
	return syntax.Proxy{Name: p.Program().Name, Settings: []syntax.Setting{
		{Name: setKeepalive, Kind: syntax.Whole, Most: syntax.MaxThreads,
			What: fmt.Sprintf("How many idle connections the proxy keeps to the server; 0: each request makes its own. By default %d to a server of which it is known that it keeps connections, and 0 to any other, also to a command of yours.", usualKeepalive)},
		{Name: setWorkers, Kind: syntax.Whole, Least: 1, Most: 256,
			What: "How many worker processes nginx has, or threads HAProxy and Caddy; 1 by default."},
		{Name: setMaxBody, Kind: syntax.Size, Least: 1, Most: 1 << 40,
			What: "The largest body of a request; what is larger is answered with 413. By default 256MiB of nginx, and none of HAProxy and Caddy."},
		{Name: setTimeout, Kind: syntax.Span, Least: 1, Most: 24 * 60 * 60,
			What: "How long the client or the server may be silent amid a request; by default 5s more than request.timeout."},
		{Name: setConfig, Kind: syntax.File, Most: 64 << 10, Pattern: upstreamIn,
			Rule: "{upstream} has to stand where the server's address belongs, as in proxy_pass http://{upstream};",
			What: "A configuration of your own instead, in the scenario's folder: {upstream} is the server's address, {port} the port to listen on. A directive of nginx or a line of HAProxy that has it is repeated for each replica, whose number is {replica}; Caddy gets all addresses in its place."},
	}}
}

var upstreamIn = regexp.MustCompile(`\{upstream\}`)

// front is the service of a proxy before others of the stack.
func front(proxy Proxy, class syntax.Class, upstreams []string, p scenarios.Plan, t scenarios.Topology) stacks.Service {
	f := Front{Workers: 1, Wait: p.Request.Timeout + timeoutMargin}
	if class.Keeps > 0 && max(1, t.Threads) >= class.Keeps {
		f.Keepalive = usualKeepalive
	}
	for name, value := range t.ProxySettings {
		number, _ := strconv.ParseFloat(value, 64) // as it was read from the scenario
		switch name {
		case setKeepalive:
			f.Keepalive = int(number)
		case setWorkers:
			f.Workers = int(number)
		case setMaxBody:
			f.MaxBody = int64(number)
		case setTimeout:
			f.Wait = time.Duration(number * float64(time.Second))
		}
	}
	addresses := make([]string, len(upstreams))
	for i, name := range upstreams {
		if addresses[i] = "{upstream:" + name + "}"; t.Unix {
			addresses[i] = proxy.Socket() + "{socket:" + name + "}"
		}
	}
	name, config := proxy.Program().Name, proxy.Config(f, addresses)
	if own := t.ProxySettings[setConfig]; own != "" {
		config = proxy.Own(own, addresses)
	}
	return stacks.Service{
		Name: name, Role: stacks.RoleProxy, Command: proxy.Command(), Env: proxy.Env(f), Port: proxyPort,
		Proxy: &stacks.Proxy{Software: name, Upstreams: upstreams, Config: config},
	}
}

// configFile returns the file that a running proxy was started with: in the command
// line of one of its processes the argument after an option.
func configFile(service stacks.ServiceFacts, program, option string) (string, error) {
	for _, p := range service.Processes {
		if !runs(p.Command, program) {
			continue
		}
		args := strings.Fields(p.Command)
		for i, a := range args {
			if a == option && i+1 < len(args) {
				return args[i+1], nil
			}
		}
	}
	return "", fmt.Errorf("%w: service %s: no process of %s was found that names its configuration", stacks.ErrDiffers, service.Service, program)
}
