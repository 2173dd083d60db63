package scenarios

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"stackmeter/scenarios/wire"
)

// Fingerprint is the SHA-256, in hexadecimal, of what must be the same if cells
// of two runs are to be comparable: app, request, resources, client, warm-up,
// fresh, starts, topologies, loads, and the contents of the payload files as
// WithPayloadFiles found them. Order, prune, seed, repeats, baseline and
// thresholds do not count, nor do lanes. Of the path of a file or folder only the last element
// counts, so a checkout may be anywhere.
func (p Plan) Fingerprint() string {
	topologies := map[string]Topology{}
	cells := map[string]LoadSpec{}
	for _, t := range p.Trials {
		topologies[t.Topology.Name] = t.Topology
		for _, c := range t.Cells {
			cells[c.Name] = c.Load
		}
	}
	return p.fingerprint(topologies, cells)
}

// CellFingerprint is what must be the same if a topology's cells under a load are to be
// measured alike in another run, whatever else that has to measure; else as Fingerprint
// has it. A search's short load counts as the one that it stands for.
func (p Plan) CellFingerprint(t Topology, load LoadSpec) string {
	if load.Of > 0 {
		load.Requests, load.Of = load.Of, 0
	}
	p.Starts = 0
	return p.fingerprint(map[string]Topology{t.Name: t}, map[string]LoadSpec{"": load})
}

func (p Plan) fingerprint(topologies map[string]Topology, cells map[string]LoadSpec) string {
	app := p.App
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
	// This text is canonical: encoding/json writes structs in the order of their
	// fields and maps in the order of their keys.
	text, err := json.Marshal(struct {
		App        App
		Request    wire.Request
		Resources  Resources
		Client     Client
		Warmup     int
		Fresh      string
		Starts     int `json:",omitempty"`
		Topologies map[string]Topology
		Cells      map[string]LoadSpec
		Payload    []wire.PayloadFile `json:",omitempty"`
	}{app, p.Request.Anywhere(), p.Resources, p.Client, p.Warmup, p.Fresh, p.Starts, topologies, cells, p.PayloadFiles})
	if err != nil {
		// Only Request.JSON can be refused, in a plan that Parse did not make.
		text = fmt.Appendf(nil, "%#v", err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// WithPayloadFiles returns the plan with the sizes and hashes of its request's
// files, in the order in which they are sent. It reads each file once, piece by
// piece. The error names a file that cannot be read.
func (p Plan) WithPayloadFiles() (Plan, error) {
	var err error
	p.PayloadFiles, err = p.Request.PayloadFiles()
	return p, err
}

// Reads are the absolute paths of the files that a run of the plan reads by name.
func (p Plan) Reads() []string {
	files := append(slices.Clone(p.read), p.Request.Files()...)
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
