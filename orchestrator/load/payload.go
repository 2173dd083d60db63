package load

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"

	"stackmeter/scenarios"
)

// defaultContentType is that of a file whose name does not say it.
const defaultContentType = "application/octet-stream"

// A Source gives the payloads of a request one at a time.
type Source struct {
	Count   int // 1 for a request with JSON, 0 for one without a body
	Payload func(i int) (Payload, error)
}

// A Content is a payload in memory.
type Content struct {
	Name        string
	ContentType string
	Data        []byte
}

// ReadPayloads reads or generates all payloads of a request, in their order.
func ReadPayloads(r scenarios.Request) ([]Content, error) {
	s, err := Payloads(r)
	if err != nil {
		return nil, err
	}
	contents := make([]Content, s.Count)
	for i := range contents {
		p, err := s.Payload(i)
		if err != nil {
			return nil, err
		}
		content, err := p.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(content)
		if err := errors.Join(err, content.Close()); err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
		contents[i] = Content{Name: p.Name, ContentType: p.ContentType, Data: data}
	}
	return contents, nil
}

// A Payload is one body, or one file of a multipart form. It is read in pieces on
// its way, so that the heap never holds hundreds of megabytes, of one file or of
// many.
type Payload struct {
	Name        string // the file's name without its folder
	ContentType string
	Size        int64 // bytes
	Open        func() (io.ReadCloser, error)
}

// read makes a Payload of bytes in memory.
func read(name, contentType string, data []byte) Payload {
	return Payload{name, contentType, int64(len(data)), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

// Payloads is where a request's payloads come from.
func Payloads(r scenarios.Request) (Source, error) {
	set := 0
	for _, is := range []bool{r.Multipart != nil, r.Body != nil, len(r.JSON) > 0} {
		if is {
			set++
		}
	}
	switch {
	case set > 1:
		return Source{}, fmt.Errorf("request: only one of multipart, body and json can be sent; %d are set", set)
	case r.Multipart != nil:
		return filesOrGenerated("multipart", "", r.Multipart.Files, r.Multipart.Generate)
	case r.Body != nil:
		return filesOrGenerated("body", r.Body.ContentType, r.Body.Files, r.Body.Generate)
	case len(r.JSON) > 0:
		return Source{1, func(int) (Payload, error) { return read("json", "application/json", r.JSON), nil }}, nil
	}
	return Source{}, nil
}

func filesOrGenerated(what, contentType string, files []string, generate *scenarios.Generate) (Source, error) {
	switch {
	case generate != nil && len(files) > 0:
		return Source{}, fmt.Errorf("request: %s: files and generate exclude each other", what)
	case generate != nil:
		return generated(contentType, *generate)
	case len(files) == 0:
		return Source{}, fmt.Errorf("request: %s: there are no files; name some, or use generate", what)
	}
	return Source{len(files), func(i int) (Payload, error) {
		info, err := os.Stat(files[i])
		if err != nil {
			return Payload{}, fmt.Errorf("request: %s: %w", what, err)
		}
		kind := cmp.Or(contentType, mime.TypeByExtension(filepath.Ext(files[i])), defaultContentType)
		return Payload{filepath.Base(files[i]), kind, info.Size(), func() (io.ReadCloser, error) {
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

func generated(contentType string, g scenarios.Generate) (Source, error) {
	if g.Kind != generatedKind {
		return Source{}, fmt.Errorf("request: generate: kind %q is not known; it can be %s", g.Kind, generatedKind)
	}
	if g.Count < 1 {
		return Source{}, fmt.Errorf("request: generate: count is %d; it has to be 1 or more", g.Count)
	}
	return Source{g.Count, func(i int) (Payload, error) {
		data, err := generateJPEG(g.Width, g.Height, g.Seed, uint64(i))
		if err != nil {
			return Payload{}, fmt.Errorf("request: %w", err)
		}
		return read(fmt.Sprintf("generated-%03d.jpg", i), cmp.Or(contentType, "image/jpeg"), data), nil
	}}, nil
}
