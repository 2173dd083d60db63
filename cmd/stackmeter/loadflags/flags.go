// Package loadflags makes a scenario of the flags of load: one server, one load.
// Each flag is a key of the scenario, which the scenario's own parser checks.
package loadflags

import (
	"encoding/json"
	"strings"

	"github.com/spf13/pflag"

	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
)

// A flag is one of load for something that a scenario says too.
type flag struct {
	name, short string
	value       string // by default; of a switch "false", of a flag that may be repeated "[]"
	path        string // where a scenario says it; empty: settings.special knows
	yaml        func(value string) string
	usage       string
}

// payload stands in a path for what carries a file: the body, or with --field a
// form.
const payload = "request.PAYLOAD"

// Add adds the flags.
func Add(to *pflag.FlagSet) {
	for _, f := range all() {
		f.add(to)
	}
}

func all() []flag {
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
	return []flag{
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

func (f flag) add(to *pflag.FlagSet) {
	switch f.value {
	case "false":
		to.BoolP(f.name, f.short, false, f.usage)
	case "[]":
		to.StringArrayP(f.name, f.short, nil, f.usage)
	default:
		to.StringP(f.name, f.short, f.value, f.usage)
	}
}
