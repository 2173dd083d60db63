package scenarios

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestThreat4MessagesNameNoValues: what is wrong with a scenario is said
// without the values of environments, headers and build arguments, wherever
// the mistake is.
func TestThreat4MessagesNameNoValues(t *testing.T) {
	const scenario = "name: case\ntopologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"
	for _, test := range []struct{ name, text, set, want string }{
		{"a name", "app:\n  image: a\n  wsgi: wsgi:app\n  env: {TOK: secret-4711, A-B: 1}\n", "", `case.yaml:7:27: app.env has the invalid name "A-B"`},
		{"a name with its value", "app: {image: a, wsgi: 'wsgi:app', env: {TOK=secret-4711: }}\n", "", `the invalid name "TOK…"`},
		{"no mapping", "request: {headers: Bearer secret-4711}\n", "", "request.headers must be a mapping, not a text"},
		{"beside a value", "app: {image: {}, wsgi: 'wsgi:app', env: {TOK: secret-4711}}\n", "", "app.image must be text"},
		{"a build argument", "app:\n  wsgi: wsgi:app\n  build:\n    context: .\n    args: {TOK: secret-4711, A-B: 1}\n", "", `"A-B"`},
		{"an alias", "app:\n  image: &a {TOK: secret-4711}\n  wsgi: wsgi:app\n  env: *a\n", "", "case.yaml:5:10: app.image must be text, not a mapping"},
		{"a misspelt key", "app: {image: a, wsgi: 'wsgi:app', environment: {TOK: secret-4711}}\n", "", `did you mean "env"?`},
		{"no YAML", "request:\n  headers:\n    Authorization: Bearer: secret-4711\n", "", "not valid YAML"},
		{"a tag", "app: {image: a, wsgi: 'wsgi:app', env: {TOK: !secret-4711 x}}\n", "", "the tag of this value means nothing here"},
		{"an anchor", "app: {image: a, wsgi: 'wsgi:app', env: {TOK: *secret-4711}}\n", "", "no anchor of this name before this"},
		{"an axis", "app: {image: a, wsgi: 'wsgi:app'}\n", "topologies.0={server: flask, env: {TOK: [secret-4711, secret-4711]}}", "env.TOK has a value twice"},
		{"an override", "app: {image: a, wsgi: 'wsgi:app'}\n", "app.env={TOK: secret-4711, A-B: 1}", `--set app.env…: app.env has the invalid name "A-B"`},
		{"an override of more", "app: {image: a, wsgi: 'wsgi:app'}\n", "app={image: {}, env: {TOK: secret-4711}}", "--set app…: app.image must be text"},
		{"an override without =", "app: {image: a, wsgi: 'wsgi:app'}\n", "app.env.TOK secret-4711", "--set app.env.TOK…: not of the form KEY=VALUE"},
		{"an override below a value", "app: {image: a, wsgi: 'wsgi:app', env: {TOK: secret-4711}}\n", "app.env.TOK.x=1", "app.env.TOK is a text and has no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var set []string
			if test.set != "" {
				set = append(set, test.set)
			}
			_, err := Loader{Figures: figures, Servers: known}.Parse("case.yaml", []byte(scenario+test.text), set...)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "4711") {
				t.Errorf("%v\nwant %s, and no value", err, test.want)
			}
		})
	}
}

// TestThreat4HeaderVariables: what the operator gives for a header is in no plan but
// by its name, and in no message.
func TestThreat4HeaderVariables(t *testing.T) {
	const text = `name: case
app: {image: a, wsgi: "wsgi:app", ready: {headers: {Authorization: "Bearer ${API_TOKEN}", X-Own: own-4711}}}
request: {headers: {Authorization: "Bearer ${API_TOKEN}", X-Own: "own-4711 ${API_TOKEN}"}}
topologies: [flask]
matrix: {requests: [1], client: [single]}
`
	load := func(value string) (*Scenario, error) {
		return Loader{Figures: figures, Servers: known, Env: map[string]string{"API_TOKEN": value}}.Parse("case.yaml", []byte(text))
	}
	s, err := load("secret-4711")
	if err != nil {
		t.Fatal(err)
	}
	plan := s.Plan()
	written, err := json.Marshal(plan.Redacted())
	if err != nil || strings.Contains(string(written), "4711") || strings.Count(string(written), `"Authorization":"Bearer ${API_TOKEN}"`) != 2 {
		t.Errorf("%s, %v", written, err)
	}
	const printed = "Bearer secret-4711, secret-4711, own-4711 secret-4711, own-4711, Bearer ${API_TOKEN}"
	if got := plan.Scrubber()(printed); strings.Contains(got, "4711") || !strings.HasSuffix(got, "Bearer ${API_TOKEN}") {
		t.Errorf("%s", got)
	}
	if _, err := load("secret-4711\n"); err == nil || !strings.Contains(err.Error(), "the value of API_TOKEN has a character that no header can have") || strings.Contains(err.Error(), "4711") {
		t.Errorf("a line's end in a value: %v", err)
	}
}
