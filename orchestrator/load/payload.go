package load

import (
	"fmt"
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
		if payloads[i], err = source.load(i); err != nil {
			return nil, err
		}
	}
	return payloads, nil
}

// A payloadSource gives payloads one at a time, so that hundreds of megabytes
// never have to be on the heap together.
type payloadSource struct {
	count int
	load  func(i int) (Payload, error)
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
		return payloadSource{1, func(int) (Payload, error) {
			return Payload{Name: "json", ContentType: "application/json", Data: r.JSON}, nil
		}}, nil
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
	return payloadSource{len(files), func(i int) (Payload, error) {
		data, err := os.ReadFile(files[i])
		if err != nil {
			return Payload{}, fmt.Errorf("request: %s: %w", what, err)
		}
		return Payload{
			Name:        filepath.Base(files[i]),
			ContentType: firstOf(contentType, mime.TypeByExtension(filepath.Ext(files[i])), defaultContentType),
			Data:        data,
		}, nil
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
	return payloadSource{g.Count, func(i int) (Payload, error) {
		data, err := generateJPEG(g.Width, g.Height, g.Seed, uint64(i))
		if err != nil {
			return Payload{}, fmt.Errorf("request: %w", err)
		}
		return Payload{
			Name:        fmt.Sprintf("generated-%03d.jpg", i),
			ContentType: firstOf(contentType, "image/jpeg"),
			Data:        data,
		}, nil
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
