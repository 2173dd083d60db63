//go:build linux

package native

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/wire"
)

// userAgent is the User-Agent header, unless the scenario sets one.
const userAgent = "stackmeter/1"

// A requestBuilder turns payloads into whole HTTP/1.1 requests.
type requestBuilder struct {
	start     string // request line and the headers that all requests share
	field     string // of the multipart form; empty for a raw body
	method    string
	typeGiven bool // the scenario's headers have a Content-Type
}

// newRequestBuilder makes the head that all requests of a batch share. What comes from
// the scenario was checked when that was read: no value ends a line early.
func newRequestBuilder(host string, r wire.Request, keepAlive bool) *requestBuilder {
	b := &requestBuilder{method: cmp.Or(r.Method, http.MethodGet)}
	if r.Multipart != nil {
		b.field = r.Multipart.Field
	}
	headers := map[string]string{"Host": host, "User-Agent": userAgent, "Accept": "*/*"}
	for name, value := range r.Headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
		b.typeGiven = b.typeGiven || name == "Content-Type"
		headers[name] = value
	}
	headers["Connection"] = "close"
	if keepAlive {
		headers["Connection"] = "keep-alive"
	}
	var start strings.Builder
	fmt.Fprintf(&start, "%s %s HTTP/1.1\r\nHost: %s\r\n", b.method, cmp.Or(r.Path, "/"), headers["Host"])
	delete(headers, "Host")
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		fmt.Fprintf(&start, "%s: %s\r\n", name, headers[name])
	}
	b.start = start.String()
	return b
}

// bare is the request without a body.
func (b *requestBuilder) bare() []byte {
	switch b.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return []byte(b.start + "Content-Length: 0\r\n\r\n")
	}
	return []byte(b.start + "\r\n")
}

// with returns what goes before a payload's bytes in a request, and what goes after.
func (b *requestBuilder) with(p load.Payload) (before, after []byte, err error) {
	contentType := p.ContentType
	var open, end []byte
	if b.field != "" {
		if contentType, open, end, err = b.form(p); err != nil {
			return nil, nil, err
		}
	}
	head := bytes.NewBufferString(b.start)
	if !b.typeGiven {
		fmt.Fprintf(head, "Content-Type: %s\r\n", contentType)
	}
	fmt.Fprintf(head, "Content-Length: %d\r\n\r\n", int64(len(open))+p.Size+int64(len(end)))
	head.Write(open)
	return head.Bytes(), end, nil
}

// form returns a multipart form's content type and what goes around its only file.
// The boundary is the payload's digest: the same payload makes the same bytes, and no
// payload contains its own digest by chance. The boundary comes before the payload,
// which is therefore read once for it and once more to be stored.
func (b *requestBuilder) form(p load.Payload) (contentType string, open, end []byte, err error) {
	content, err := p.Open()
	if err != nil {
		return "", nil, nil, err
	}
	digest := sha256.New()
	_, err = io.Copy(digest, content)
	if err := errors.Join(err, content.Close()); err != nil {
		return "", nil, nil, fmt.Errorf("request: multipart: %w", err)
	}
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	// No error is possible: the boundary is a valid one, and a buffer takes everything.
	_ = w.SetBoundary("stackmeter-" + hex.EncodeToString(digest.Sum(nil)[:16]))
	_, _ = w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {multipart.FileContentDisposition(b.field, p.Name)},
		"Content-Type":        {p.ContentType},
	})
	length := form.Len()
	_ = w.Close()
	return w.FormDataContentType(), form.Bytes()[:length], form.Bytes()[length:], nil
}
