// Package propose finds out about an app that has no scenario what a scenario has to say,
// and proposes one.
package propose

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/draft"
	"stackmeter/scenarios/ready"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/stacks"
	"stackmeter/stacks/discover"
	"stackmeter/stacks/servers"
)

// A Proposer proposes scenarios.
type Proposer struct {
	Runtime discover.Runtime // that knows the machine's devices
	Run     string           // whose stacks they are
	Loader  scenarios.Loader
	Cores   int
	Time    time.Duration // that measuring may take
	Tell    func(what, found, flag string)
	Doing   func(string) // what takes a while
}

const (
	lookFor   = time.Minute     // until the image's own command listens
	paceFor   = 2 * time.Second // for each number of clients
	mostPool  = 32
	guessPort = 8000
)

// Propose completes a draft, of which what is given stays. content is that of its file.
func (p Proposer) Propose(ctx context.Context, d draft.Draft, content []byte) (draft.Draft, error) {
	d.Notes = map[string]string{}
	plan, _, err := p.plan(d)
	if err != nil {
		return d, err
	}
	own := stacks.Spec{
		Run: p.Run, Name: "look", Path: "/", GPU: plan.Resources.GPU,
		Services: []stacks.Service{{
			Name: stacks.AppService, Role: stacks.RoleOther, Image: plan.App.Image, Build: plan.App.Build, Env: plan.App.Env, Port: guessPort, GPU: true,
		}},
	}
	if err := p.Runtime.Prepare(ctx, own, p.Doing); err != nil {
		return d, err
	}
	if err := p.device(ctx, &d); err != nil {
		return d, err
	}
	if d.GPU == scenarios.GPUOff {
		own.GPU = scenarios.GPU{Mode: scenarios.GPUOff}
	}
	p.Doing("start the image's own command, and look at it")
	in, err := discover.Look(ctx, p.Runtime, own, lookFor)
	if err != nil {
		return d, err
	}
	if err := p.image(in, &d); err != nil {
		return d, err
	}
	return d, p.app(ctx, &d, in, content)
}

// plan is the plan of a draft, with its topologies in the scenario's order.
func (p Proposer) plan(d draft.Draft) (scenarios.Plan, []scenarios.Topology, error) {
	scenario, err := p.Loader.Parse(d.WithDefaults().File, []byte(d.String()))
	if err != nil {
		return scenarios.Plan{}, nil, err
	}
	return scenario.Plan(), scenario.Topologies, nil
}

// device finds out whether the app gets a GPU.
func (p Proposer) device(ctx context.Context, d *draft.Draft) error {
	if d.GPU != "" {
		return nil
	}
	uuids, none, err := p.Runtime.Devices(ctx, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1})
	if err != nil {
		return err
	}
	d.GPU = scenarios.GPUAuto
	if len(uuids) == 0 {
		d.GPU = scenarios.GPUOff
		p.Tell("GPU", "none: "+none, "--gpu")
		return nil
	}
	p.Tell("GPU", strings.Join(uuids, ", "), "--gpu")
	return nil
}

// image says what is in the image: the callable, the port, the servers; or that its own
// command serves it.
func (p Proposer) image(in discover.Inside, d *draft.Draft) error {
	p.labels(in, d)
	if in.Ended != nil {
		first, _, _ := strings.Cut(in.Ended.Error(), "\n")
		p.Doing("the image's own command serves nothing (" + first + "): its files say what it is")
	}
	given := d.WSGI != "" || d.ASGI != ""
	if !given {
		d.WSGI, d.ASGI = in.WSGI, in.ASGI
	}
	if !in.Flask && !given { // Flask's server takes Flask's apps alone
		in.Servers = slices.DeleteFunc(slices.Clone(in.Servers), func(server string) bool { return server == "flask" })
	}
	able := draft.Topologies(d.WSGI != "", d.ASGI != "", append([]string{}, in.Servers...), p.Cores)
	if len(d.Topologies) == 0 && len(able) == 0 {
		if err := p.own(in, d, given); err != nil {
			return err
		}
	}
	if name := d.WSGI + d.ASGI; name != "" && !given {
		key, flag := "app.wsgi", "--wsgi"
		if d.ASGI != "" {
			key, flag = "app.asgi", "--asgi"
		}
		d.Notes[key] = in.From
		said := name + ": " + in.From
		if len(in.Others) > 0 {
			said += "; there is also " + strings.Join(in.Others, ", ")
		}
		p.Tell("callable", said, flag)
	}
	if d.Port == 0 {
		d.Port = cmp.Or(in.Port, guessPort)
		how := cmp.Or(in.PortFrom, "its own command listened on none, so any will do")
		d.Notes["app.port"] = how
		p.Tell("port", fmt.Sprintf("%d: %s", d.Port, how), "--port")
	}
	if len(d.Topologies) == 0 && len(d.Command) == 0 {
		d.Topologies = able
		p.Tell("servers", strings.Join(in.Servers, ", ")+": the image has them", "--topology")
	}
	return nil
}

// labels takes what the image's labels say, unless it is given.
func (p Proposer) labels(in discover.Inside, d *draft.Draft) {
	request := d.Path == "" && d.JSON == "" && d.Payload == "" && d.Method == ""
	for _, one := range []struct {
		name string
		into *string
		take bool
	}{
		{"name", &d.Name, true}, {"ready", &d.Ready, true}, {"method", &d.Method, request}, {"path", &d.Path, true},
		{"field", &d.Field, d.Payload != ""}, {"json", &d.JSON, d.JSON == "" && d.Payload == ""},
	} {
		if value := in.Labels[one.name]; value != "" && *one.into == "" && one.take {
			*one.into = value
			p.Tell(one.name, value+": the image's label says so", "--"+one.name)
		}
	}
}

// own takes the image's own command as the way of serving it, if it serves anything.
func (p Proposer) own(in discover.Inside, d *draft.Draft, given bool) error {
	why := "no WSGI or ASGI callable was found in the image's command or in the files of its working directory"
	if !in.Python {
		why = "the image has no python3, and its command names no callable"
	}
	hint := "give --wsgi MODULE:CALLABLE or --asgi MODULE:CALLABLE, as gunicorn or uvicorn would take it"
	if name := d.WSGI + d.ASGI; name != "" {
		why = fmt.Sprintf("none of the servers in the image can serve %s (it has: %s)", name, cmp.Or(strings.Join(in.Servers, ", "), "none"))
		hint = "install gunicorn for WSGI or uvicorn for ASGI in the image, or give --topology"
	}
	switch {
	case given:
		return fmt.Errorf("%s: %s", why, hint)
	case in.Ended != nil:
		return fmt.Errorf("%s: %s. Its own command does not serve it either: %w", why, hint, in.Ended)
	case in.Port == 0:
		return fmt.Errorf("%s: %s. Its own command listens on no port within %v", why, hint, lookFor)
	case in.Alone:
		return fmt.Errorf("%s: %s. Its own command listens on port %d at 127.0.0.1 alone, where nothing outside of the container reaches it: let it listen at 0.0.0.0", why, hint, in.Port)
	}
	d.WSGI, d.ASGI, d.Command = "", "", in.Command
	p.Tell("command", show.Command(in.Command...)+": its own; "+why, "--wsgi, --asgi")
	return nil
}

// app finds out what the app answers, behind the largest of its topologies, and how fast.
func (p Proposer) app(ctx context.Context, d *draft.Draft, in discover.Inside, content []byte) (err error) {
	plan, all, err := p.plan(*d)
	if err != nil {
		return err
	}
	began := time.Now()
	stack, err := p.start(ctx, plan, all, d.Ready != "")
	if err != nil {
		return err
	}
	defer func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, stack.Stop(limited))
	}()
	if err := discover.Awake(ctx, stack.URL(), plan.App.Ready.Timeout); err != nil {
		return stacks.Abandon(ctx, stack, time.Minute, err)
	}
	took := time.Since(began)
	if d.Ready == "" {
		path, how := discover.Ready(ctx, stack.URL(), in)
		if d.Ready = path; path != "" {
			d.Notes["app.ready"] = how
			p.Tell("ready path", path+": "+how, "--ready")
		} else {
			p.Tell("ready path", "none of the usual ones is answered with 2xx: a connection counts", "--ready")
		}
	}
	given := discover.Request{Method: d.Method, Path: d.Path, Field: d.Field, File: d.Payload, Data: content, JSON: d.JSON != ""}
	if given.JSON {
		given.Data = []byte(d.JSON)
	}
	found, err := discover.Find(ctx, stack.URL(), given, in)
	if err != nil && d.Path == "" && d.Ready != "" && ctx.Err() == nil {
		return fmt.Errorf("%w\n(%s is answered, but that it lives is no work to measure: if it is what you want, give --path %s)", err, d.Ready, d.Ready)
	}
	if err != nil {
		return err
	}
	request := found.Request
	flags := "--path, --method, --json, --file"
	if request.Field != "" {
		flags = "--path, --field"
	}
	p.Tell("request", fmt.Sprintf("%s, answered with %d: %s", request, found.Status, found.How), flags)
	d.Notes["request.path"] = found.How
	d.Method, d.Path, d.Field, d.Status = request.Method, request.Path, request.Field, found.Status
	if request.JSON {
		d.JSON = string(request.Data)
		p.Tell("JSON", d.JSON, "--json")
	}
	p.Doing("measure for a moment how many clients at once are worth sending")
	paces, err := discover.Paces(ctx, stack.URL(), request, paceFor, mostPool)
	if err != nil {
		return fmt.Errorf("a short measurement: %w", err)
	}
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = t.Name
	}
	p.size(d, paces, took, names)
	*d = d.WithDefaults()
	return nil
}

// start starts the largest topology of a plan. Where nothing is known by which it says that
// it is ready, it has to take a connection.
func (p Proposer) start(ctx context.Context, plan scenarios.Plan, all []scenarios.Topology, known bool) (stacks.Stack, error) {
	largest := slices.MaxFunc(all, func(a, b scenarios.Topology) int { return slots(a) - slots(b) })
	spec, err := servers.Expand(p.Run, plan, largest)
	if err != nil {
		return nil, err
	}
	if !known {
		spec.Ready = ready.Probe{TCP: true, Timeout: plan.App.Ready.Timeout}
	}
	p.Doing("start " + largest.Name)
	if err := p.Runtime.Prepare(ctx, spec, p.Doing); err != nil {
		return nil, err
	}
	stack, err := p.Runtime.Start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", largest.Name, withLog(err))
	}
	if err := stacks.WaitReady(ctx, spec, stack); err != nil {
		return nil, fmt.Errorf("start %s: %w", largest.Name, withLog(stacks.Abandon(ctx, stack, time.Minute, err)))
	}
	return stack, nil
}

// withLog is a failed start with what was printed.
func withLog(err error) error {
	var start *stacks.StartError
	if errors.As(err, &start) && start.Log != "" {
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(show.Clean(start.Log)))
	}
	return err
}

// slots is about how many requests a topology works on at once.
func slots(t scenarios.Topology) int {
	return max(1, t.Workers) * max(1, t.Threads) * max(1, t.Replicas)
}

const (
	cellSeconds  = 4.0 // that a cell of the fastest topology takes
	leastSeconds = 0.5
	leastAsked   = 20 // requests of a cell
	rounds       = 6  // so that each median has a 95% interval
	slower       = 2  // how much longer a cell takes on average than one of the fastest
)

// size chooses how many requests are sent from how many clients, by what was seen.
func (p Proposer) size(d *draft.Draft, paces []discover.Pace, took time.Duration, names []string) {
	best := slices.MaxFunc(paces, func(a, b discover.Pace) int { return cmp.Compare(a.Rate, b.Rate) })
	i := slices.IndexFunc(paces, func(one discover.Pace) bool { return one.Rate >= 0.9*best.Rate })
	knee := paces[i]
	var seen []string
	for _, one := range paces {
		seen = append(seen, fmt.Sprintf("%d: %s/s", one.Pool, words.Digits(one.Rate)))
	}
	stacks := float64(len(names))
	seconds := cellSeconds
	if p.Time > 0 {
		seconds = (p.Time.Seconds() - stacks*took.Seconds()) / (stacks * rounds * slower)
		seconds = min(max(seconds, leastSeconds), cellSeconds)
	}
	if len(d.Pools) == 0 {
		d.Pools = []int{max(knee.Pool, 2)}
	}
	if d.Requests == 0 {
		d.Requests = max(leastAsked, 2*d.Pools[0], round(knee.Rate*seconds))
	}
	d.Rounds = rounds
	why := "clients at once and answers: " + strings.Join(seen, ", ")
	d.Notes["matrix.pool"], d.Notes["matrix.requests"] = why, "a cell takes about "+words.InWords(float64(d.Requests)/knee.Rate)
	pools := strings.Trim(strings.ReplaceAll(fmt.Sprint(d.Pools), " ", ", "), "[]")
	p.Tell("load", fmt.Sprintf("%d requests from %s clients at once (%s)", d.Requests, pools, why), "--requests, --pool")
	total := time.Duration((stacks*took.Seconds() + stacks*rounds*slower*float64(d.Requests)/knee.Rate) * float64(time.Second))
	p.Tell("plan", fmt.Sprintf("search among %s for at most %s; all of it %d times would take about %s, a guess",
		strings.Join(names, ", "), units.Seconds.Format(p.Time.Seconds()), rounds, units.Seconds.Format(max(total.Round(10*time.Second), 10*time.Second).Seconds())), "--topology, --time")
}

// round rounds a number of requests to two digits.
func round(n float64) int {
	if n < 10 {
		return int(math.Ceil(n))
	}
	unit := math.Pow(10, math.Floor(math.Log10(n))-1)
	return int(math.Round(n/unit) * unit)
}
