// Package wire is what the client sends and what becomes of its answers, and
// reads it from a scenario.
package wire

import (
	"encoding/json"
	"path/filepath"
	"time"

	"stackmeter/scenarios/expect"
)

// MaxRequests is the most requests of one load.
const MaxRequests = 10_000_000

// Values of Request.Pick.
const (
	pickCycle  = "cycle"  // the first, the second, … and again
	PickRandom = "random" // each by chance, by the scenario's seed
)

// Values of Request.Stream: what an event of an answer is.
const (
	StreamEvents = "events" // a server-sent event: https://html.spec.whatwg.org/multipage/server-sent-events.html
	StreamLines  = "lines"  // a line that is not blank, as of JSON Lines
	StreamChunks = "chunks" // a chunk of HTTP/1.1's chunked transfer coding, as it is on the wire: RFC 9112, section 7.1
)

// A Request is what the client sends. At most one of Multipart, Body and JSON
// is set; with none of them the request has no body.
type Request struct {
	Method    string            `json:"method"`
	Path      string            `json:"path"`
	Headers   map[string]string `json:"headers,omitempty"` // see package message
	Multipart *Multipart        `json:"multipart,omitempty"`
	Body      *Body             `json:"body,omitempty"`
	JSON      json.RawMessage   `json:"json,omitempty"`
	Pick      string            `json:"pick,omitempty"` // PickRandom, or empty: the payloads are cycled through
	Timeout   time.Duration     `json:"timeout"`
	Stream    string            `json:"stream,omitempty"` // what an event of each answer is; empty: answers of text/event-stream have server-sent ones, others do not stream
	Expect    expect.Answer     `json:"expect"`
	TLS       *TLS              `json:"tls,omitempty"`        // of topologies that speak it; nil: as TLS's zero value
	MaxErrors *ErrorLimit       `json:"max_errors,omitempty"` // nil: a cell with any error fails, after the whole load was sent
}

// Expected says in words what an answer has to be.
func (r Request) Expected() string {
	if r.Stream != "" {
		return "a stream of " + r.Stream + ", " + r.Expect.String()
	}
	return r.Expect.String()
}

// Multipart sends one payload per request as a file of a multipart form,
// cycling through the payloads. Files or Generate gives the payloads.
type Multipart struct {
	Field    string    `json:"field"`
	Files    []string  `json:"files,omitempty"` // absolute, globs expanded and sorted
	Generate *Generate `json:"generate,omitempty"`
}

// Body sends one payload per request as the raw body, cycling through them.
type Body struct {
	ContentType string    `json:"content_type,omitempty"` // from the file's name when empty
	Files       []string  `json:"files,omitempty"`        // absolute, globs expanded and sorted
	Generate    *Generate `json:"generate,omitempty"`
}

// Generate makes payloads instead of reading them: Count images of Width × Height
// pixels. The same Seed gives the same images.
type Generate struct {
	Kind   string `json:"kind"` // "jpeg"
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Count  int    `json:"count"`
	Seed   uint64 `json:"seed"`
}

// Anywhere is the request with the last elements of its files' paths.
func (r Request) Anywhere() Request {
	if r.Multipart != nil {
		m := *r.Multipart
		m.Files = baseNames(m.Files)
		r.Multipart = &m
	}
	if r.Body != nil {
		b := *r.Body
		b.Files = baseNames(b.Files)
		r.Body = &b
	}
	return r
}

func baseNames(files []string) []string {
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	return names
}

// Files are the absolute paths of the payload files; none if payloads are
// generated.
func (r Request) Files() []string {
	switch {
	case r.Multipart != nil:
		return r.Multipart.Files
	case r.Body != nil:
		return r.Body.Files
	}
	return nil
}
