package pages

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"stackmeter/scenarios/show"
)

// A page is one file: its style and its script are in it, and its content
// security policy lets nothing else run and nothing be fetched. What a
// scenario, an answer or a log wrote is escaped by html/template and cleaned
// of control characters first, as in every other format.

//go:embed html/*.html
var assets embed.FS

//go:embed html/page.css
var style string

//go:embed html/page.js
var script string

// A page is what every HTML page of ours is made of.
type page struct {
	Title   string
	Heading string
	Under   string // the line under the heading
	Status  *status
	Banners []string // warnings above everything else
	Nav     []Link
	Follow  *Follow
	Body    template.HTML

	Style  template.CSS
	Script template.JS
	Policy template.HTMLAttr
}

// A status is a word with a colour: ok, warn, bad or none.
type status struct{ Text, Class string }

// A Link leads from one page of a server to another.
type Link struct{ Text, Href string }

// Follow makes a served page look again for what is new.
type Follow struct {
	Seconds int    // between two looks
	State   string // the address that answers {"version": …}
	Version string // that the page was made at
}

// write puts the page together. name is the template of what is in main.
func (p page) write(w io.Writer, name string, data any) error {
	// Each page parses them, which takes a millisecond, so that there is no state
	// to share.
	templates, err := template.New("pages").Funcs(template.FuncMap{
		"grid":  newGrid,
		"lines": func(lines []string) string { return strings.Join(lines, "\n") },
	}).ParseFS(assets, "html/*.html")
	if err != nil {
		return err
	}
	var body strings.Builder
	if err := templates.ExecuteTemplate(&body, name, data); err != nil {
		return err
	}
	p.Nav = slices.Clone(p.Nav)
	for i := range p.Nav {
		p.Nav[i].Text = show.Line(p.Nav[i].Text) // a run's id among them
	}
	p.Body = template.HTML(body.String()) // made by the templates above
	p.Style, p.Script = template.CSS(style), template.JS(script)
	p.Policy = template.HTMLAttr(`content="` + Policy(p.Follow != nil) + `"`) // hashes and keywords
	return templates.ExecuteTemplate(w, "base", p)
}

// Policy is the content security policy of a page: its own style and script,
// known by their hashes, and nothing else; a page that follows a run may also
// ask the server that it came from.
func Policy(follows bool) string {
	hash := func(content string) string {
		sum := sha256.Sum256([]byte(content))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	policy := fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; base-uri 'none'; form-action 'none'",
		hash(style), hash(script))
	if follows {
		policy += "; connect-src 'self'"
	}
	return policy
}
