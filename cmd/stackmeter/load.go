package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/message"
	"stackmeter/scenarios/show"
	"stackmeter/stacks/existing"
)

// existingServer is the runtime of load, which no --runtime names.
const existingServer = "existing"

func (a *app) loadCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "Send a load to a server that is there already",
		Long: `load sends requests to one URL with the client that run uses. It prints what a
cell of a run would hold: duration, throughput, latency, errors by kind, and what
the client itself used. It starts nothing and stores nothing. With --repeats it
sends the load several times and prints the tables of a run.

Without --client the load is single, with --pool mt, and with --rate or
--search-p99 open. Each request opens a connection of its own unless --keepalive
is given. A file is sent as the body, or with --field as a file of a form.

Ctrl-C ends the load and prints what was measured until then.

Exit status: 0 the load was sent, also when some answers were errors, unless
--max-errors says otherwise; 1 it could not be sent, as to a host
that has no address; 2 wrong usage; 3 nothing was
answered as expected, a search found no rate, or there were more errors than
--max-errors, which with --fail-on is none by default; 4 a condition of --fail-on is broken; 130 interrupted.`,
		Example: `  stackmeter load http://127.0.0.1:8000/healthz
  stackmeter load http://127.0.0.1:8000/predict --requests 100 --client mt --pool 10 --file 'images/*.jpg' --field file
  stackmeter load http://127.0.0.1:8000/predict --rate 20/s --arrivals poisson --generate 640x480 --field file
  stackmeter load http://127.0.0.1:8000/ --requests 200 --search-p99 50ms
  stackmeter load http://127.0.0.1:8000/ --repeats 5 --fail-on 'p99 < 200ms'
  stackmeter load http://localhost/ --unix-socket /run/app.sock --keepalive --max-errors 1%`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, scenario, err := loadScenario(args[0], cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			return a.load(cmd.Context(), server, scenario.Plan(), o)
		},
	}
	cmd.Flags().SortFlags = false
	for _, f := range loadFlags() {
		f.add(cmd.Flags())
	}
	cmd.Flags().StringVar(&o.jsonFile, "json", "", "also write the result as JSON to `FILE`; - for standard output, instead of the text")
	failOnFlag(cmd, &o.gate.failOn)
	cmd.Flags().StringVar(&o.progress, "progress", progressAuto, "`HOW` it is shown on standard error: auto, plain, json or none")
	return cmd
}

// A loadFlag is a flag of load for something that a scenario says too.
type loadFlag struct {
	name, short string
	value       string // by default; of a switch "false", of a flag that may be repeated "[]"
	path        string // where a scenario says it; empty: loadSettings.special knows
	yaml        func(value string) string
	usage       string
}

// payload stands in a path for what carries a file: the body, or with --field a
// form.
const payload = "request.PAYLOAD"

func loadFlags() []loadFlag {
	asIs := func(value string) string { return value } // a number or a time, and so on
	text := func(value string) string { return quoted(value) }
	upper := func(value string) string { return quoted(strings.ToUpper(value)) }
	search := func(value string) string { return "{search: {p99: " + value + "}}" }
	same := func(string) string { return expect.DigestSame }
	event := func(value string) string {
		if strings.HasPrefix(value, "{") && json.Valid([]byte(value)) {
			return value
		}
		return quoted(value)
	}
	return []loadFlag{
		{"requests", "n", "100", "matrix.requests", asIs, "send `N` requests"},
		{"client", "", "", "", nil, "`MODE`: single, mt (threads of one process), mp (processes) or open (a schedule)"},
		{"pool", "c", "", "", nil, "`N` clients at once; for open, at most N requests under way"},
		{"keepalive", "k", "false", "matrix.keepalive", asIs, "keep connections instead of opening one for each request"},
		{"rate", "", "", "matrix.rate", asIs, "open: requests per second, `N/s`; or max, as fast as the pool can"},
		{"arrivals", "", "", "matrix.arrivals", text, "open: `KIND`, constant or poisson"},
		{"search-p99", "", "", "matrix.rate", search, "open: find the highest rate whose 99th percentile of latency stays within this `TIME`"},
		{"warmup", "", "0", "warmup", asIs, "send `N` requests first, and throw their figures away"},
		{"repeats", "", "1", "repeats", asIs, "send the load `N` times"},

		{"method", "X", "", "request.method", upper, "`METHOD`; by default GET, and POST with a body"},
		{"header", "H", "[]", "", nil, "a header, `'NAME: VALUE'`; may be repeated"},
		{"file", "", "[]", "", nil, "send the files that match this `GLOB`, one with each request; may be repeated"},
		{"generate", "", "", payload + ".generate.size", text, "send twelve generated JPEGs of this `SIZE`, as 640x480, instead of files"},
		{"data", "d", "", "", nil, "send this `JSON`"},
		{"field", "", "", payload + ".field", text, "send a file as the field `NAME` of a form (multipart) instead of as the body"},
		{"pick", "", "", "request.pick", text, "`HOW` a file is picked: cycle, one after the other, or random"},
		{"seed", "", "1", "seed", asIs, "draw everything that is left to chance by this `SEED`"},
		{"timeout", "", "60s", "request.timeout", asIs, "the `TIME` of a request, from connecting to the last byte"},
		{"unix-socket", "", "", "", nil, "connect to this unix socket `FILE` instead of to the URL's host"},
		{"ca", "", "", "request.tls.ca", text, "https: trust the authorities in this PEM `FILE` instead of the machine's"},
		{"insecure", "", "false", "request.tls.insecure", asIs, "https: do not verify the server's certificate; the result is flagged"},

		{"expect-status", "", "200", "request.expect.status", asIs, "the `STATUS` of a good answer; 0 for any 2xx"},
		{"expect-json", "", "[]", "", nil, "what a JSON body has, `PLACE=VALUE`, as label=cat or results.0.id=/^[0-9]+$/; may be repeated"},
		{"match", "", "", "request.expect.match", text, "a regular `EXPRESSION` that the body has to match"},
		{"expect-same", "", "false", "request.expect.body_digest", same, "all answers to the same file have to be the same, byte by byte"},
		{"stream", "", "", "request.stream", text, "answers stream, and `WHAT` are their events: events (server-sent ones), lines or chunks; by default text/event-stream streams"},
		{"expect-events", "", "", "request.expect.events", asIs, "a stream has `N` events, or MIN-MAX, or MIN- for at least as many"},
		{"expect-last-event", "", "", "request.expect.last_event", event, "the `DATA` of a stream's last event: a text as [DONE], /^a pattern$/, or JSON with what it has at some places, as '{\"done\": true}'"},
		{"max-errors", "", "", "request.max_errors", text, "stop early and fail with more errors than `N`, or than N% of the requests; by default any number, with --fail-on none"},

		{"engine", "", scenarios.EngineNative, "client.engine", text, "`NAME`: native, or python-requests, Python's requests as a process of this machine"},
		{"cpuset", "", "", "client.cpuset", text, "the `CORES` that the client may use, as 0-3,6"},
	}
}

func (f loadFlag) add(to *pflag.FlagSet) {
	switch f.value {
	case "false":
		to.BoolP(f.name, f.short, false, f.usage)
	case "[]":
		to.StringArrayP(f.name, f.short, nil, f.usage)
	default:
		to.StringP(f.name, f.short, f.value, f.usage)
	}
}

// loadScenario makes a scenario of load's flags, and returns it with the URL of its
// one server. The scenario's own parser checks the values.
func loadScenario(rawURL string, flags *pflag.FlagSet) (server string, s *scenarios.Scenario, err error) {
	l := loadSettings{flags: flags}
	u, err := readURL(rawURL)
	if err != nil {
		return "", nil, err
	}
	if server, err = serverOf(u, l.value("unix-socket"), l.value("engine")); err != nil {
		return "", nil, err
	}
	l.all = []scenarios.Setting{
		{From: "URL", Path: "request.path", Value: quoted(u.RequestURI())},
		{From: "URL", Path: "resources.gpu.mode", Value: scenarios.GPUOff},
		{From: "URL", Path: "order", Value: scenarios.OrderListed},
	}
	for _, f := range loadFlags() {
		if !utf8.ValidString(l.value(f.name)) {
			return "", nil, fmt.Errorf("--%s is not UTF-8 text, and could not be sent as it is; --file sends any bytes", f.name)
		}
	}
	l.plain()
	if err := l.special(u.Host); err != nil {
		return "", nil, err
	}
	name, _, _ := strings.Cut(rawURL, "?") // a query may hold a key
	loader := scenarios.Loader{Server: &scenarios.Topology{Name: name, Server: scenarios.ServerExisting, TLS: u.Scheme == "https"}}
	if s, err = loader.ParseSettings("load", l.all); err != nil {
		return "", nil, err
	}
	if data := l.value("data"); data != "" {
		s.Request.JSON = json.RawMessage(data) // byte by byte
	}
	if l.value("expect-status") == anySuccess {
		s.Request.Expect.Status = 0
	}
	return server, s, nil
}

// anySuccess is the --expect-status for which a scenario has no word.
const anySuccess = "0"

// loadSettings collect what the flags say as settings of a scenario.
type loadSettings struct {
	flags *pflag.FlagSet
	all   []scenarios.Setting
}

func (l *loadSettings) value(flag string) string { return l.flags.Lookup(flag).Value.String() }

func (l *loadSettings) values(flag string) []string {
	return l.flags.Lookup(flag).Value.(pflag.SliceValue).GetSlice()
}

func (l *loadSettings) set(flag, path, yaml string) {
	carrier := "request.body"
	if l.value("field") != "" {
		carrier = "request.multipart"
	}
	path = strings.Replace(path, payload, carrier, 1)
	l.all = append(l.all, scenarios.Setting{From: "--" + flag, Path: path, Value: yaml})
}

// plain sets what the flags with a path say.
func (l *loadSettings) plain() {
	for _, f := range loadFlags() {
		v := l.value(f.name)
		if f.path != "" && v != "" && v != "false" && !(f.name == "expect-status" && v == anySuccess) {
			l.set(f.name, f.path, f.yaml(v))
		}
	}
}

// special sets what the other flags say. host is the URL's.
func (l *loadSettings) special(host string) error {
	client := l.client()
	l.set("client", "matrix.client", quoted(client))
	switch pool := l.value("pool"); {
	case pool == "", client == scenarios.ClientSingle && pool == "1": // which it has anyway
	case client == scenarios.ClientOpen: // which is not crossed with pools
		l.set("pool", "matrix.include", "[{client: open, pool: "+pool+"}]")
	default:
		l.set("pool", "matrix.pool", pool)
	}
	if l.value("generate") != "" {
		l.set("seed", payload+".generate.seed", l.value("seed"))
	}
	if files := l.values("file"); len(files) > 0 {
		l.set("file", payload+".files", quoted(files))
	}
	if data := l.value("data"); data != "" {
		if !json.Valid([]byte(data)) {
			return errors.New("--data is not JSON; put any other body into a file, and name it with --file")
		}
		l.set("data", "request.json", "{}") // loadScenario puts the text itself there
	}
	if err := l.headers(host); err != nil {
		return err
	}
	return l.expectJSON()
}

// client returns the client mode: --client, or what the other flags imply.
func (l *loadSettings) client() string {
	given := func(flag string) bool { return l.value(flag) != "" }
	switch {
	case given("client"):
		return l.value("client")
	case given("rate"), given("search-p99"), given("arrivals"):
		return scenarios.ClientOpen
	case given("pool") && l.value("pool") != "1":
		return scenarios.ClientMT
	}
	return scenarios.ClientSingle
}

func (l *loadSettings) headers(host string) error {
	ownHost := false
	for _, header := range l.values("header") {
		name, text, is := strings.Cut(header, ":")
		if !is || strings.TrimSpace(name) != name || name == "" {
			return fmt.Errorf("--header %q: it has to be 'NAME: VALUE'", header)
		}
		name = http.CanonicalHeaderKey(name)
		ownHost = ownHost || name == "Host"
		l.set("header", "request.headers."+name, quoted(message.Literal(text)))
	}
	if l.value("unix-socket") != "" && !ownHost {
		l.set("unix-socket", "request.headers.Host", quoted(host))
	}
	return nil
}

func (l *loadSettings) expectJSON() error {
	var places []string
	for _, expected := range l.values("expect-json") {
		place, value, is := strings.Cut(expected, "=")
		if !is || place == "" {
			return fmt.Errorf("--expect-json %q: it has to be PLACE=VALUE, for example label=cat", expected)
		}
		if value == "" { // a variable of a script that is not set
			return fmt.Errorf(`--expect-json %q: it has no value; the empty text is %s=""`, expected, place)
		}
		if !json.Valid([]byte(value)) {
			value = quoted(value) // a word is a text
		}
		places = append(places, quoted(place)+": "+value)
	}
	if len(places) > 0 {
		l.set("expect-json", "request.expect.json", "{"+strings.Join(places, ", ")+"}")
	}
	return nil
}

// quoted returns a value in YAML, which JSON is part of.
func quoted(value any) string {
	text, _ := json.Marshal(value) // texts and lists of them: there is no error
	return string(text)
}

// readURL reads the URL of a request. Its errors show no password.
func readURL(raw string) (*url.URL, error) {
	shown := raw
	if at := strings.LastIndex(raw, "@"); at >= 0 {
		shown = show.Missing + raw[at:]
	}
	wrong := func(format string, args ...any) (*url.URL, error) {
		return nil, fmt.Errorf("URL %q: %w", shown, fmt.Errorf(format, args...))
	}
	u, err := url.Parse(raw)
	var parsing *url.Error
	switch {
	case len(show.Credentials(raw)) > 0 || err == nil && u.User != nil:
		return wrong("send a name and password in a header: --header 'Authorization: Basic …'")
	case !strings.Contains(raw, "://") && !strings.HasPrefix(raw, "/"):
		return wrong("it has no scheme; write http://%s or https://%s", shown, shown)
	case errors.As(err, &parsing):
		return wrong("%w", parsing.Err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return wrong("it has to begin with http://HOST or https://HOST, for example http://127.0.0.1:8000/predict")
	case u.Fragment != "":
		return wrong("a fragment is never sent; leave out #%s", u.Fragment)
	}
	if port, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16); err != nil || port == 0 {
		return wrong("port %s does not exist", u.Port())
	}
	return u, nil
}

// maxSocketPath is the longest path of a unix socket that the kernel takes, in bytes.
const maxSocketPath = 107

// serverOf returns what the client connects to, as a stack's URL.
func serverOf(u *url.URL, socket, engine string) (string, error) {
	switch {
	case socket == "":
		return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String(), nil
	case u.Scheme == "https":
		return "", errors.New("--unix-socket: HTTPS is not spoken over one; use http://")
	case engine != scenarios.EngineNative:
		return "", fmt.Errorf("--unix-socket: the engine %s cannot connect to one", engine)
	}
	path, err := filepath.Abs(socket)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("--unix-socket: the path has %d bytes, and the kernel takes at most %d; go to its folder, or use a link", len(path), maxSocketPath)
	}
	return (&url.URL{Scheme: "http+unix", Path: path}).String(), err
}

// load runs the plan over the server that is there already. Nothing is stored.
func (a *app) load(ctx context.Context, server string, plan scenarios.Plan, o runOptions) error {
	if err := errors.Join(o.gate.check(plan), checkCores(plan, existingServer), checkStdout(planFiles(plan, "")), checkOutput("--json", o.jsonFile, planFiles(plan, o.jsonFile))); err != nil {
		return err
	}
	if thresholds, _ := o.gate.thresholds(plan); needsBaseline(thresholds) {
		return usageError{errors.New("--fail-on: load stores nothing, so there is no base to compare with; write --json, and use stackmeter compare")}
	}
	if plan.Request.MaxErrors == nil && len(o.gate.failOn) == 0 {
		plan.Request.MaxErrors = &scenarios.ErrorLimit{Percent: 100} // it is a look, and no gate
	}
	if len(plan.Trials) == 1 && o.progress == progressAuto && !isTerminal(a.stderr.to) {
		o.progress = progressNone // the result says it all
	}
	progress, err := a.newProgress(o.progress)
	if err != nil {
		return err
	}
	if plan, err = plan.WithPayloadFiles(); err != nil {
		return err
	}
	store, err := openPrivateStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	ctx, release := a.signals(ctx, onSignal{
		cause: errLoadInterrupted,
		first: "the result follows (press again to end at once)",
		late:  "the load did not end in time",
	})
	defer release()
	run := newRun(plan, existingServer, "")
	if err := store.Begin(ctx, run); err != nil {
		return err
	}
	runtime := &existing.Runtime{URL: existing.At(server)}
	loop := orchestrator.Orchestrator{
		Runtime: runtime, Client: openEngine(plan.Client.Engine, runtime), Recorder: store, Notify: progress.event, KeepCutShort: true,
	}
	failed := bySignal(ctx, loop.Run(ctx, run.ID, plan))
	progress.close()
	if failed == nil {
		_, records, err := store.Run(ctx, run.ID)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(records, results.Record.Attempted) {
			failed = errors.New(records[0].Reason) // behind the result, as JSON too
		}
	}
	return a.finish(ctx, store, run.ID, o, failed)
}
