package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"

	"stackmeter/scenarios"
)

// A Payload is one body, or one file of a multipart form.
type Payload struct {
	Name        string // the file's name without its folder
	ContentType string
	Data        []byte
}

// defaultContentType is that of a file whose name says nothing.
const defaultContentType = "application/octet-stream"

// Payloads reads or generates all the payloads of a request, in their order.
// A request with JSON has one payload, a request without a body none.
func Payloads(r scenarios.Request) ([]Payload, error) {
	source, err := payloadsOf(r)
	if err != nil {
		return nil, err
	}
	payloads := make([]Payload, source.count)
	for i := range payloads {
		p, err := source.payload(i)
		if err != nil {
			return nil, err
		}
		content, err := p.open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(content)
		if err := errors.Join(err, content.Close()); err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
		payloads[i] = Payload{Name: p.name, ContentType: p.contentType, Data: data}
	}
	return payloads, nil
}

// A payloadSource gives payloads one at a time.
type payloadSource struct {
	count   int
	payload func(i int) (unread, error)
}

// An unread payload is read in pieces, where it goes, so that hundreds of
// megabytes never have to be on the heap together, of one file or of many.
type unread struct {
	name        string
	contentType string
	size        int64 // bytes
	open        func() (io.ReadCloser, error)
}

// read is a payload that is in memory.
func read(name, contentType string, data []byte) unread {
	return unread{name, contentType, int64(len(data)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

// payloadsOf says where a request's payloads come from.
func payloadsOf(r scenarios.Request) (payloadSource, error) {
	set := 0
	for _, is := range []bool{r.Multipart != nil, r.Body != nil, len(r.JSON) > 0} {
		if is {
			set++
		}
	}
	switch {
	case set > 1:
		return payloadSource{}, fmt.Errorf("request: only one of multipart, body and json can be sent; %d are set", set)
	case r.Multipart != nil:
		return filesOrGenerated("multipart", "", r.Multipart.Files, r.Multipart.Generate)
	case r.Body != nil:
		return filesOrGenerated("body", r.Body.ContentType, r.Body.Files, r.Body.Generate)
	case len(r.JSON) > 0:
		return payloadSource{1, func(int) (unread, error) { return read("json", "application/json", r.JSON), nil }}, nil
	}
	return payloadSource{}, nil
}

func filesOrGenerated(what, contentType string, files []string, generate *scenarios.Generate) (payloadSource, error) {
	switch {
	case generate != nil && len(files) > 0:
		return payloadSource{}, fmt.Errorf("request: %s: files and generate exclude each other", what)
	case generate != nil:
		return generated(contentType, *generate)
	case len(files) == 0:
		return payloadSource{}, fmt.Errorf("request: %s: there are no files; name some, or use generate", what)
	}
	return payloadSource{len(files), func(i int) (unread, error) {
		info, err := os.Stat(files[i])
		if err != nil {
			return unread{}, fmt.Errorf("request: %s: %w", what, err)
		}
		kind := firstOf(contentType, mime.TypeByExtension(filepath.Ext(files[i])), defaultContentType)
		return unread{filepath.Base(files[i]), kind, info.Size(), func() (io.ReadCloser, error) {
			file, err := os.Open(files[i])
			if err != nil {
				return nil, fmt.Errorf("request: %s: %w", what, err)
			}
			return file, nil
		}}, nil
	}}, nil
}

// generatedKind is the only kind of payload that can be generated.
const generatedKind = "jpeg"

func generated(contentType string, g scenarios.Generate) (payloadSource, error) {
	if g.Kind != generatedKind {
		return payloadSource{}, fmt.Errorf("request: generate: kind %q is not known; it can be %s", g.Kind, generatedKind)
	}
	if g.Count < 1 {
		return payloadSource{}, fmt.Errorf("request: generate: count is %d; it has to be 1 or more", g.Count)
	}
	return payloadSource{g.Count, func(i int) (unread, error) {
		data, err := generateJPEG(g.Width, g.Height, g.Seed, uint64(i))
		if err != nil {
			return unread{}, fmt.Errorf("request: %w", err)
		}
		return read(fmt.Sprintf("generated-%03d.jpg", i), firstOf(contentType, "image/jpeg"), data), nil
	}}, nil
}

// firstOf is the first string that is not empty.
func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
