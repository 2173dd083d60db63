package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// loadOptions are the flags of load: what a scenario's request and one entry of
// its matrix would say.
type loadOptions struct {
	requests  int
	mode      string
	pool      int
	keepAlive bool
	rate      string
	arrivals  string
	searchP99 time.Duration
	warmup    int

	method   string
	headers  []string
	files    []string
	generate string
	data     string
	field    string
	pick     string
	seed     uint64
	timeout  time.Duration
	socket   string
	ca       string
	insecure bool

	status    int
	match     string
	places    []string
	same      bool
	maxErrors string

	engine   string
	cpuset   string
	jsonFile string
	progress string
}

func loadFlags(cmd *cobra.Command, o *loadOptions) {
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVarP(&o.requests, "requests", "n", 100, "how many to send")
	f.StringVar(&o.mode, "client", "", "`MODE`: single, mt (threads of one process), mp (processes) or open (a schedule)")
	f.IntVarP(&o.pool, "pool", "c", 0, "clients at once; for open the most requests under way")
	f.BoolVarP(&o.keepAlive, "keepalive", "k", false, "keep connections instead of opening one for each request")
	f.StringVar(&o.rate, "rate", "", "open: requests per second, `N/s`; or max, as fast as the pool can")
	f.StringVar(&o.arrivals, "arrivals", "", "open: `KIND`, constant or poisson")
	f.DurationVar(&o.searchP99, "search-p99", 0, "open: find the highest rate whose 99th percentile of latency stays within this")
	f.IntVar(&o.warmup, "warmup", 0, "requests that are sent before and thrown away")

	f.StringVarP(&o.method, "method", "X", "", "`METHOD`; GET, or POST with a body, when left out")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "a header, `'NAME: VALUE'`; may be repeated")
	f.StringArrayVar(&o.files, "file", nil, "send the files that match this `GLOB`, one with each request; may be repeated")
	f.StringVar(&o.generate, "generate", "", "send twelve generated JPEGs of this `SIZE`, as 640x480, instead of files")
	f.StringVarP(&o.data, "data", "d", "", "send this `JSON`")
	f.StringVar(&o.field, "field", "", "send a file as the field `NAME` of a form (multipart) instead of as the body")
	f.StringVar(&o.pick, "pick", scenarios.PickCycle, "`HOW` a file is picked: cycle, one after the other, or random")
	f.Uint64Var(&o.seed, "seed", 1, "of all that is drawn by chance")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "of each request, from connecting to the last byte")
	f.StringVar(&o.socket, "unix-socket", "", "connect to this unix socket `FILE` instead of to the URL's host")
	f.StringVar(&o.ca, "ca", "", "https: trust the authorities in this PEM `FILE` instead of the machine's")
	f.BoolVar(&o.insecure, "insecure", false, "https: do not verify the server's certificate; the result is flagged")

	f.IntVar(&o.status, "expect-status", 200, "any other is an error; 0 for any 2xx")
	f.StringArrayVar(&o.places, "expect-json", nil, "what a JSON body has, `PLACE=VALUE`, as label=cat or results.0.id=/^[0-9]+$/; may be repeated")
	f.StringVar(&o.match, "match", "", "a regular `EXPRESSION` that the body has to match")
	f.BoolVar(&o.same, "expect-same", false, "all answers to the same file have to be the same, byte by byte")
	f.StringVar(&o.maxErrors, "max-errors", "", "stop early and fail with more errors than `N`, or than N% of the requests")

	f.StringVar(&o.engine, "engine", scenarios.EngineNative, "`NAME`: native, or python-requests, Python's requests as a process of this machine")
	f.StringVar(&o.cpuset, "cpuset", "", "the `CORES` that the client may use, as 0-3,6")
	f.StringVar(&o.jsonFile, "json", "", "also write the result as JSON to `FILE`; - for standard output, instead of the text")
	f.StringVar(&o.progress, "progress", progressAuto, "`HOW` it is shown on standard error: auto, plain, json or none")
}

// job makes of the flags what a run makes of a scenario: a plan of one cell, and
// its job.
func (o loadOptions) job(rawURL string) (load.Job, scenarios.Plan, error) {
	base, request, err := o.target(rawURL)
	if err != nil {
		return load.Job{}, scenarios.Plan{}, err
	}
	var spec scenarios.LoadSpec
	for _, step := range []func() error{
		func() error { return o.payload(&request) },
		func() error { return o.head(&request) },
		func() error { return o.expectations(&request) },
		func() (err error) { spec, err = o.spec(); return err },
		func() error { return spec.Check() },
		func() error { return scenarios.InRange("--warmup", o.warmup, 0, scenarios.MaxWarmup) },
	} {
		if err := step(); err != nil {
			return load.Job{}, scenarios.Plan{}, err
		}
	}
	job := load.Job{URL: base, Request: request, Load: spec, GiveUp: orchestrator.GiveUp, Seed: o.seed}
	if o.cpuset != "" {
		if job.Cores, err = scenarios.ParseCpuset(o.cpuset); err != nil {
			return load.Job{}, scenarios.Plan{}, fmt.Errorf("--cpuset: %w", err)
		}
	}
	name, _, _ := strings.Cut(rawURL, "?") // a query may hold a key
	cell := scenarios.Cell{Name: name + "/" + spec.Name(), Repeat: 1, Load: spec}
	return job, scenarios.Plan{
		Scenario: "load", Request: request, Client: scenarios.Client{Engine: o.engine, Cpuset: o.cpuset},
		Warmup: o.warmup, Order: scenarios.OrderListed, Seed: o.seed, Fresh: scenarios.FreshTopology, Repeats: 1,
		Trials: []scenarios.Trial{{Topology: scenarios.Topology{Name: name}, Repeat: 1, Cells: []scenarios.Cell{cell}}},
	}, nil
}

// target splits the URL into what the client connects to and what it asks for.
func (o loadOptions) target(raw string) (string, scenarios.Request, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", scenarios.Request{}, err
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "", scenarios.Request{}, fmt.Errorf("URL %q: it has to begin with http://HOST or https://HOST, for example http://127.0.0.1:8000/predict", raw)
	case u.User != nil:
		return "", scenarios.Request{}, errors.New("URL: a name and password belong in a header: --header 'Authorization: Basic …'")
	case u.Fragment != "":
		return "", scenarios.Request{}, fmt.Errorf("URL %q: a fragment is not sent; take #%s out", raw, u.Fragment)
	}
	request := scenarios.Request{Path: u.RequestURI(), Timeout: o.timeout, Headers: map[string]string{}}
	if o.ca != "" || o.insecure {
		switch {
		case u.Scheme != "https":
			return "", request, errors.New("--ca and --insecure: the URL is not https")
		case o.engine != scenarios.EngineNative:
			return "", request, fmt.Errorf("--ca and --insecure: the engine %s verifies certificates by its own rules only", o.engine)
		case o.ca != "" && o.insecure:
			return "", request, errors.New("--ca and --insecure: keep one of them")
		}
		request.TLS = &scenarios.TLS{Insecure: o.insecure, CA: o.ca}
	}
	base := u.Scheme + "://" + u.Host
	if o.socket != "" {
		if u.Scheme == "https" {
			return "", request, errors.New("--unix-socket: HTTPS is not spoken over one; use http://")
		}
		if o.engine != scenarios.EngineNative {
			return "", request, fmt.Errorf("--unix-socket: the engine %s cannot connect to one", o.engine)
		}
		path, err := filepath.Abs(o.socket)
		if err != nil {
			return "", request, err
		}
		request.Headers["Host"] = u.Host
		base = (&url.URL{Scheme: "http+unix", Path: path}).String()
	}
	return base, request, scenarios.TimeInRange("--timeout", o.timeout)
}

// payload is what each request sends.
func (o loadOptions) payload(r *scenarios.Request) error {
	var given []string
	for _, one := range []struct {
		flag string
		is   bool
	}{{"--file", len(o.files) > 0}, {"--generate", o.generate != ""}, {"--data", o.data != ""}} {
		if one.is {
			given = append(given, one.flag)
		}
	}
	switch {
	case len(given) > 1:
		return fmt.Errorf("%s: which of them is sent? keep one", strings.Join(given, " and "))
	case o.field != "" && (len(given) == 0 || o.data != ""):
		return errors.New("--field names the form's field of a file; add --file or --generate")
	case o.pick != scenarios.PickCycle && o.pick != scenarios.PickRandom:
		return fmt.Errorf("--pick %s: there is %s and %s", o.pick, scenarios.PickCycle, scenarios.PickRandom)
	case o.data != "":
		if !json.Valid([]byte(o.data)) {
			return errors.New("--data is not JSON; put other bodies into a file, and name it with --file")
		}
		r.JSON = json.RawMessage(o.data)
		return nil
	case len(given) == 0:
		return nil
	}
	if o.pick == scenarios.PickRandom {
		r.Pick = scenarios.PickRandom
	}
	files, err := matching(o.files)
	if err != nil {
		return err
	}
	var generate *scenarios.Generate
	if o.generate != "" {
		generate = &scenarios.Generate{Kind: "jpeg", Count: 12, Seed: o.seed}
		if _, err := fmt.Sscanf(o.generate, "%dx%d", &generate.Width, &generate.Height); err != nil ||
			o.generate != fmt.Sprintf("%dx%d", generate.Width, generate.Height) {
			return fmt.Errorf("--generate %s: width x height in pixels, for example 640x480", o.generate)
		}
	}
	if o.field != "" {
		r.Multipart = &scenarios.Multipart{Field: o.field, Files: files, Generate: generate}
	} else {
		r.Body = &scenarios.Body{Files: files, Generate: generate}
	}
	return nil
}

// matching are the regular files that the globs match, sorted, each once.
func matching(globs []string) ([]string, error) {
	var files []string
	for _, glob := range globs {
		found, err := filepath.Glob(glob)
		if err != nil {
			return nil, fmt.Errorf("--file %s: %w", glob, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("--file %s: no file matches", glob)
		}
		before := len(files)
		for _, name := range found {
			if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
				absolute, err := filepath.Abs(name)
				if err != nil {
					return nil, err
				}
				files = append(files, absolute)
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("--file %s: that is no file", glob)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// head is the request's method and headers.
func (o loadOptions) head(r *scenarios.Request) error {
	r.Method = strings.ToUpper(o.method)
	hasBody := r.Multipart != nil || r.Body != nil || len(r.JSON) > 0
	switch {
	case r.Method == "" && hasBody:
		r.Method = http.MethodPost
	case r.Method == "":
		r.Method = http.MethodGet
	case hasBody && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return fmt.Errorf("--method %s: it sends no body; take the body out, or use POST", r.Method)
	}
	for _, header := range o.headers {
		name, value, is := strings.Cut(header, ":")
		if !is || strings.TrimSpace(name) != name || name == "" {
			return fmt.Errorf("--header %q: it has to be 'NAME: VALUE'", header)
		}
		r.Headers[http.CanonicalHeaderKey(name)] = strings.TrimSpace(value)
	}
	return nil
}

// expectations are what an answer has to be, and how often it may be something
// else.
func (o loadOptions) expectations(r *scenarios.Request) error {
	if o.status != 0 && (o.status < 200 || o.status > 599) {
		return fmt.Errorf("--expect-status %d: it has to be from 200 to 599, or 0 for any 2xx", o.status)
	}
	r.Expect.Status = o.status
	if _, err := regexp.Compile(o.match); err != nil {
		return fmt.Errorf("--match: %w", err)
	}
	r.Expect.Match = o.match
	if o.same {
		r.Expect.BodyDigest = scenarios.DigestSame
	}
	for _, expected := range o.places {
		place, value, is := strings.Cut(expected, "=")
		if !is || place == "" {
			return fmt.Errorf("--expect-json %q: it has to be PLACE=VALUE, for example label=cat", expected)
		}
		if pattern, is := scenarios.Pattern(value); is {
			if _, err := regexp.Compile(pattern); err != nil {
				return fmt.Errorf("--expect-json %s: %w", place, err)
			}
		} else if !json.Valid([]byte(value)) {
			quoted, err := json.Marshal(value) // a word is a text
			if err != nil {
				return fmt.Errorf("--expect-json %s: %w", place, err)
			}
			value = string(quoted)
		}
		if r.Expect.JSON == nil {
			r.Expect.JSON = map[string]string{}
		}
		r.Expect.JSON[place] = value
	}
	if o.maxErrors != "" {
		limit, err := scenarios.ParseErrorLimit(o.maxErrors)
		if err != nil {
			return fmt.Errorf("--max-errors: %w", err)
		}
		r.MaxErrors = &limit
	}
	return nil
}

// spec is the load itself.
func (o loadOptions) spec() (scenarios.LoadSpec, error) {
	l := scenarios.LoadSpec{Requests: o.requests, Client: o.mode, Pool: o.pool, KeepAlive: o.keepAlive, P99: o.searchP99}
	open := o.rate != "" || o.searchP99 != 0
	switch {
	case l.Client == "" && (open || o.arrivals != ""):
		l.Client = scenarios.ClientOpen
	case l.Client == "" && l.Pool > 1:
		l.Client = scenarios.ClientMT
	case l.Client == "":
		l.Client = scenarios.ClientSingle
	}
	switch l.Client {
	case scenarios.ClientSingle:
		if l.Pool > 1 {
			return l, fmt.Errorf("--pool %d: single is one client; use --client mt or mp", l.Pool)
		}
		if l.Pool == 0 {
			l.Pool = 1
		}
	case scenarios.ClientMT, scenarios.ClientMP:
		if l.Pool == 0 {
			return l, fmt.Errorf("--client %s: how many clients? add --pool", l.Client)
		}
	case scenarios.ClientOpen:
		return o.openSpec(l)
	default:
		return l, fmt.Errorf("--client %s: there is single, mt, mp and open", l.Client)
	}
	if open || o.arrivals != "" {
		return l, fmt.Errorf("--client %s waits for answers, and has neither rate nor arrivals; use --client open", l.Client)
	}
	return l, nil
}

// openSpec adds what only an open loop has.
func (o loadOptions) openSpec(l scenarios.LoadSpec) (scenarios.LoadSpec, error) {
	if l.Pool == 0 {
		l.Pool = scenarios.OpenPool
	}
	switch {
	case o.searchP99 > 0 && o.rate != "":
		return l, errors.New("--rate and --search-p99: is the rate given or to be found? keep one")
	case o.searchP99 == 0 && o.rate == "":
		return l, errors.New("--client open: at which rate? add --rate 20/s, --rate max or --search-p99 500ms")
	case o.rate != "" && o.rate != "max":
		rate, err := scenarios.ParseRate(strings.TrimSuffix(o.rate, "/s") + "/s")
		if err != nil {
			return l, fmt.Errorf("--rate %s: %w", o.rate, err)
		}
		l.Rate = rate
	}
	switch {
	case o.rate == "max" && o.arrivals != "":
		return l, errors.New("--arrivals: with --rate max each request is sent as soon as a client is free")
	case o.rate == "max":
	case o.arrivals == "", o.arrivals == scenarios.ArrivalsConstant, o.arrivals == scenarios.ArrivalsPoisson:
		l.Arrivals = o.arrivals
		if l.Arrivals == "" {
			l.Arrivals = scenarios.ArrivalsConstant
		}
	default:
		return l, fmt.Errorf("--arrivals %s: there is %s and %s", o.arrivals, scenarios.ArrivalsConstant, scenarios.ArrivalsPoisson)
	}
	return l, nil
}
