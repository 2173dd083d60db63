package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Fingerprint is the SHA-256, in hexadecimal, of what must be the same for
// cells of two runs to be comparable: app, request, resources, client, warm-up,
// fresh, topologies, loads and what the payload files hold, as WithPayloadFiles
// found it. Order, prune, seed, repeats, baseline and
// thresholds are not part of it, nor is the folder that a checkout lies in: of
// files and folders only the last element of the path counts.
func (p Plan) Fingerprint() string {
	app, request := p.App, p.Request
	if app.Build != nil {
		b := *app.Build
		b.Context = filepath.Base(b.Context)
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
	// encoding/json writes structs in the order of their fields and maps in
	// the order of their keys, which makes this text canonical.
	text, err := json.Marshal(struct {
		App        App
		Request    Request
		Resources  Resources
		Client     Client
		Warmup     int
		Fresh      string
		Topologies map[string]Topology
		Cells      map[string]LoadSpec
		Payload    []PayloadFile `json:",omitempty"`
	}{app, request, p.Resources, p.Client, p.Warmup, p.Fresh, topologies, cells, p.PayloadFiles})
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

// A PayloadFile is one file that the request sends, as it was when the run
// began.
type PayloadFile struct {
	Name   string `json:"name"`   // without its folder
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of the content, in hexadecimal
}

// WithPayloadFiles is the plan with what its request's files hold now, in the
// order in which they are sent. They are read once, a piece at a time. The
// error names the file that cannot be read.
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

// files are the absolute paths of the payload files; none where payloads are
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
