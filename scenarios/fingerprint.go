package scenarios

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Fingerprint is the SHA-256, in hexadecimal, of what must be the same if cells
// of two runs are to be comparable: app, request, resources, client, warm-up,
// fresh, starts, topologies, loads, and the contents of the payload files as
// WithPayloadFiles found them. Order, prune, seed, repeats, baseline and
// thresholds do not count. Of the path of a file or folder only the last element
// counts, so a checkout may be anywhere.
func (p Plan) Fingerprint() string {
	app, request := p.App, p.Request
	if app.Build != nil {
		b := *app.Build
		b.Context = filepath.Base(b.Context)
		b.Secrets = maps.Clone(b.Secrets)
		for name, secret := range b.Secrets {
			if secret.File != "" {
				b.Secrets[name] = BuildSecret{File: filepath.Base(secret.File)}
			}
		}
		app.Build = &b
	}
	for _, folder := range []*string{&app.Dir, &app.Venv} {
		if *folder != "" {
			*folder = filepath.Base(*folder)
		}
	}
	if request.Multipart != nil {
		m := *request.Multipart
		m.Files = baseNames(m.Files)
		request.Multipart = &m
	}
	if request.Body != nil {
		b := *request.Body
		b.Files = baseNames(b.Files)
		request.Body = &b
	}
	topologies := map[string]Topology{}
	cells := map[string]LoadSpec{}
	for _, t := range p.Trials {
		topologies[t.Topology.Name] = t.Topology
		for _, c := range t.Cells {
			cells[c.Name] = c.Load
		}
	}
	// This text is canonical: encoding/json writes structs in the order of their
	// fields and maps in the order of their keys.
	text, err := json.Marshal(struct {
		App        App
		Request    Request
		Resources  Resources
		Client     Client
		Warmup     int
		Fresh      string
		Starts     int `json:",omitempty"`
		Topologies map[string]Topology
		Cells      map[string]LoadSpec
		Payload    []PayloadFile `json:",omitempty"`
	}{app, request, p.Resources, p.Client, p.Warmup, p.Fresh, p.Starts, topologies, cells, p.PayloadFiles})
	if err != nil {
		// Only Request.JSON can be refused, in a plan that Parse did not make.
		text = fmt.Appendf(nil, "%#v", err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func baseNames(files []string) []string {
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(f))
	}
	return names
}

// A PayloadFile is a file that the request sends, as it was when the run began.
type PayloadFile struct {
	Name   string `json:"name"`   // without its folder
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of the content, in hexadecimal
}

// WithPayloadFiles returns the plan with the sizes and hashes of its request's
// files, in the order in which they are sent. It reads each file once, piece by
// piece. The error names a file that cannot be read.
func (p Plan) WithPayloadFiles() (Plan, error) {
	p.PayloadFiles = nil
	for _, name := range p.Request.files() {
		f, err := readPayloadFile(name)
		if err != nil {
			return p, fmt.Errorf("payload file: %w", err)
		}
		p.PayloadFiles = append(p.PayloadFiles, f)
	}
	return p, nil
}

// Reads are the absolute paths of the files that a run of the plan reads by name.
func (p Plan) Reads() []string {
	files := append(slices.Clone(p.read), p.Request.files()...)
	if t := p.Request.TLS; t != nil && t.CA != "" {
		files = append(files, t.CA)
	}
	if b := p.App.Build; b != nil {
		files = append(files, filepath.Join(b.Context, cmp.Or(b.Dockerfile, "Dockerfile")))
		for _, secret := range b.Secrets {
			if secret.File != "" {
				files = append(files, secret.File)
			}
		}
	}
	return files
}

// files are the absolute paths of the payload files; none if payloads are
// generated.
func (r Request) files() []string {
	switch {
	case r.Multipart != nil:
		return r.Multipart.Files
	case r.Body != nil:
		return r.Body.Files
	}
	return nil
}

func readPayloadFile(name string) (PayloadFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return PayloadFile{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return PayloadFile{}, err
	}
	return PayloadFile{Name: filepath.Base(name), Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}
