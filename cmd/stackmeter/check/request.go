package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/stream"
	"stackmeter/scenarios/message"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
	"stackmeter/stacks"
)

// bodyShown is how many bytes of an answer's body are printed.
const bodyShown = 2 << 10

// headersShown are those of an answer that say what it is and where it comes from.
var headersShown = []string{"Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Location", "Retry-After", "Server", "Via"}

// ask sends the scenario's request once and prints the answer.
func (c Check) ask(ctx context.Context, spec stacks.Spec, stack stacks.Stack) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.Plan.Request.Timeout, fmt.Errorf("no answer within request.timeout, %v", c.Plan.Request.Timeout))
	defer cancel()
	request, err := c.request(limited, stack.URL())
	if err != nil {
		return err
	}
	client, err := newClient(spec.TLS)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	began := time.Now()
	response, err := client.Do(request)
	var body []byte
	if err == nil {
		defer response.Body.Close()
		body, err = io.ReadAll(io.LimitReader(response.Body, load.MaxBody))
	}
	if err != nil {
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		return c.why(ctx, request.Method+" "+c.Plan.Request.Path, err, c.logs(ctx, stack))
	}
	c.print(request, response, body, time.Since(began))
	failure, err := judge(c.Plan.Request, response, body)
	switch {
	case err != nil:
		return err
	case failure != nil:
		return c.why(ctx, "the answer is not what request.expect says", failure, c.logs(ctx, stack))
	case c.Plan.Request.Stream == wire.StreamChunks:
		c.say("The answer is as expected, but for its chunks: only a run tells them apart.")
	default:
		c.say("The answer is as expected: " + c.Plan.Request.Expected() + ".")
	}
	return nil
}

// newClient connects as the load client does: straight, without redirects, and with
// the scenario's authorities.
func newClient(secure *wire.TLS) (*http.Client, error) {
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	if secure != nil {
		config, err := secure.Config()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

// request is the first one that a cell would send.
func (c Check) request(ctx context.Context, url string) (*http.Request, error) {
	r := c.Plan.Request
	source := load.Payloads(r, new(load.Images))
	var content []byte
	contentType := ""
	if source.Count > 0 {
		payload, err := source.Payload(0)
		if err != nil {
			return nil, err
		}
		if content, contentType, err = encode(payload, r.Multipart); err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), url+r.Path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "*/*")
	request.Header.Set("User-Agent", "stackmeter")
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for name, value := range message.Fill(r.Headers, c.Plan.App.Env) {
		request.Header.Set(name, value)
		if http.CanonicalHeaderKey(name) == "Host" {
			request.Host = value
		}
	}
	return request, nil
}

// encode is a payload as the body of a request, which may be a form.
func encode(p load.Payload, form *wire.Multipart) (body []byte, contentType string, err error) {
	content, err := p.Open()
	if err != nil {
		return nil, "", err
	}
	defer content.Close()
	var b bytes.Buffer
	if form == nil {
		_, err = io.Copy(&b, content)
		return b.Bytes(), p.ContentType, err
	}
	w := multipart.NewWriter(&b)
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(form.Field, p.Name)},
		"Content-Type":        {p.ContentType},
	})
	if err == nil {
		_, err = io.Copy(part, content)
	}
	err = errors.Join(err, w.Close()) // which writes the end
	return b.Bytes(), w.FormDataContentType(), err
}

// print prints an answer.
func (c Check) print(request *http.Request, response *http.Response, body []byte, took time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s after %s, the first answer of a cold stack\n", request.Method, show.Line(c.Plan.Request.Path), response.Status, seconds(took))
	for _, name := range headersShown {
		for _, value := range response.Header.Values(name) {
			fmt.Fprintf(&b, "  %s: %s\n", name, show.Line(value))
		}
	}
	switch text := body[:min(len(body), bodyShown)]; {
	case len(body) == 0:
		b.WriteString("  (no body)\n")
	case !isText(text):
		fmt.Fprintf(&b, "  (%s that are no text)\n", show.Plural(len(body), "byte"))
	default:
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n  "))
		if len(body) > len(text) {
			fmt.Fprintf(&b, "  … (%s in all)\n", show.Plural(len(body), "byte"))
		}
	}
	c.say(b.String())
}

// isText reports whether bytes are UTF-8, whose last character may be cut off.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		b = b[size:]
	}
	return true
}

// judge says in which way an answer is not as expected; nil if it is. Events are told
// apart here unless they are chunks, whose ends the body does not show.
func judge(r wire.Request, response *http.Response, body []byte) (*load.Failure, error) {
	if r.Stream == wire.StreamChunks {
		r.Stream, r.Expect.Events, r.Expect.LastEvent = "", nil, nil
	}
	checker, err := load.NewChecker(r, func(int) (*atomic.Uint64, string) { return new(atomic.Uint64), "" })
	if err != nil {
		return nil, err
	}
	var held *load.Stream
	if kind := checker.Streams(); kind != "" && response.Header.Get("Content-Encoding") == "" &&
		(kind == wire.StreamLines || strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream")) {
		events := stream.Splitter{Keep: true}
		events.Begin(kind)
		held = &load.Stream{Events: events.Write(body) + events.End()}
		held.Last = events.Last()
	}
	return checker.Check(0, response.StatusCode, body, held), nil
}
