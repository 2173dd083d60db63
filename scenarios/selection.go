package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"stackmeter/scenarios/show"
)

// Cells is the number of cells of all trials, repeats counted.
func (p Plan) Cells() int {
	n := 0
	for _, t := range p.Trials {
		n += len(t.Cells)
	}
	return n
}

// Only is the part of the plan that a pattern names. A pattern without a
// slash is matched against the names of topologies (gunicorn-*), one with two
// parts against topology and client mode (*/mt5), any longer one against the
// whole name of a cell (flask/single/n100). Each part is a pattern of
// path.Match: a star does not cross a slash. That nothing matches is an error
// that lists what there is.
func (p Plan) Only(glob string) (Plan, error) {
	parts := strings.Split(glob, "/")
	if _, err := path.Match(glob, ""); err != nil || glob == "" {
		return Plan{}, fmt.Errorf("--only %s is not a pattern: for example gunicorn-* or */mt5", show.Quote(glob))
	}
	kept := p
	kept.Trials = nil
	for _, t := range p.Trials {
		var cells []Cell
		for _, c := range t.Cells {
			if matches(parts, c.Name) {
				cells = append(cells, c)
			}
		}
		if len(cells) > 0 {
			t.Cells = cells
			kept.Trials = append(kept.Trials, t)
		}
	}
	if len(kept.Trials) == 0 {
		return Plan{}, fmt.Errorf("--only %s matches nothing: there are\n  %s", show.Quote(glob), strings.Join(p.names(len(parts)), "\n  "))
	}
	return kept, nil
}

// matches says whether a cell's name has the parts. The pattern has been
// checked.
func matches(parts []string, name string) bool {
	names := strings.Split(name, "/")
	if len(parts) <= 2 && len(parts) < len(names) {
		names = names[:len(parts)]
	}
	return slices.EqualFunc(parts, names, func(pattern, name string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// names is what a pattern with so many parts could have matched, in the order
// of the plan, with an end.
func (p Plan) names(parts int) []string {
	const most = 20
	var all []string
	for _, t := range p.Trials {
		for _, c := range t.Cells {
			names := strings.Split(c.Name, "/")
			if parts <= 2 {
				names = names[:parts]
			}
			all = append(all, strings.Join(names, "/"))
		}
	}
	all = distinct(all)
	if len(all) > most {
		return append(all[:most:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return all
}

// Fingerprint is the SHA-256, in hexadecimal, of what has to be the same for
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
