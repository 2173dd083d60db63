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

	"stackmeter/scenarios/wire"
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
func ReadPayloads(r wire.Request, drawn *Images) ([]Content, error) {
	s := Payloads(r, drawn)
	contents := make([]Content, s.Count)
	for i := range contents {
		p, err := s.Payload(i)
		if err != nil {
			return nil, err
		}
		content, err := p.Open()
		if err != nil {
			return nil, fmt.Errorf("request: %w", err)
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

// Payloads is where a request's payloads come from. Images that have been drawn
// before are not drawn again.
func Payloads(r wire.Request, drawn *Images) Source {
	switch {
	case r.Multipart != nil:
		return filesOrGenerated("", r.Multipart.Files, r.Multipart.Generate, drawn)
	case r.Body != nil:
		return filesOrGenerated(r.Body.ContentType, r.Body.Files, r.Body.Generate, drawn)
	case len(r.JSON) > 0:
		return Source{1, func(int) (Payload, error) { return read("json", "application/json", r.JSON), nil }}
	}
	return Source{}
}

func filesOrGenerated(contentType string, files []string, g *wire.Generate, drawn *Images) Source {
	if g != nil {
		return Source{g.Count, func(i int) (Payload, error) {
			return read(fmt.Sprintf("generated-%03d.jpg", i), cmp.Or(contentType, "image/jpeg"), drawn.jpeg(picture{g.Width, g.Height, g.Seed, uint64(i)})), nil
		}}
	}
	return Source{len(files), func(i int) (Payload, error) {
		info, err := os.Stat(files[i])
		if err != nil {
			return Payload{}, fmt.Errorf("request: %w", err)
		}
		kind := cmp.Or(contentType, mime.TypeByExtension(filepath.Ext(files[i])), defaultContentType)
		return Payload{filepath.Base(files[i]), kind, info.Size(), func() (io.ReadCloser, error) { return os.Open(files[i]) }}, nil
	}}
}
