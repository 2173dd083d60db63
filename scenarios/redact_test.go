package scenarios

import (
	"testing"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// TestThreat4PrintedForms: a secret is taken out of a text in the form in
// which a program or a log has printed it.
func TestThreat4PrintedForms(t *testing.T) {
	const (
		pem      = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LWZpcnN0\nc2VjcmV0LXNlY29uZA==\n-----END PRIVATE KEY-----\n"
		odd      = "p'ä\"s<s&w\\o rd/😀"
		database = "postgres://owner:p%40ssword@db.example:5432/app"
	)
	plan := Plan{
		Scenario: "names",
		App:      App{Env: map[string]string{"KEY": pem, "ODD": odd, "DATABASE": database, "SERVER": "gunicorn", "MODEL": "resnet18", "MAIL": "someone@example.com"}},
		Request:  wire.Request{Headers: map[string]string{"Authorization": "Bearer token-4711"}},
		Trials:   []Trial{{Topology: Topology{Name: "nginx+gunicorn-w1-t1"}}},
	}
	scrub := plan.Scrubber("proxy-user:proxy-password")
	for _, test := range []struct{ name, text, want string }{
		{"as it is", "KEY=" + pem + ".", "KEY=(not written)."},
		{"in a log", "app | -----BEGIN PRIVATE KEY-----\napp | c2VjcmV0LWZpcnN0\napp | c2VjcmV0LXNlY29uZA==\n", "app | (not written)\napp | (not written)\napp | (not written)\n"},
		{"repr of lines", `{'KEY': '-----BEGIN PRIVATE KEY-----\nc2VjcmV0LWZpcnN0\nc2VjcmV0LXNlY29uZA==\n-----END PRIVATE KEY-----\n'}`, "{'KEY': '(not written)'}"},
		{"repr of odd characters", `'p\'ä"s<s&w\\o rd/😀'`, "'(not written)'"},
		{"Go's %q", `"p'ä\"s<s&w\\o rd/😀"`, `"(not written)"`},
		{"JSON", `{"ODD":"p'ä\"s<s&w\\o rd/😀"}`, `{"ODD":"(not written)"}`},
		{"JSON for HTML", `"p'ä\"s\u003cs\u0026w\\o rd/😀"`, `"(not written)"`},
		{"JSON in ASCII", `"p'\u00e4\"s<s&w\\o rd/\ud83d\ude00"`, `"(not written)"`},
		{"a query", "?odd=p%27%C3%A4%22s%3Cs%26w%5Co+rd%2F%F0%9F%98%80&x=1", "?odd=(not written)&x=1"},
		{"a path", "/p%27%C3%A4%22s%3Cs&w%5Co%20rd%2F%F0%9F%98%80/x", "/(not written)/x"},
		{"a header's credentials", "invalid token token-4711", "invalid token (not written)"},
		{"a URL's password", `password "p@ssword" (p%40ssword) is wrong for db.example`, `password "(not written)" ((not written)) is wrong for db.example`},
		{"what else is secret", "http://proxy-user:proxy-password@proxy.example:3128", "http://(not written)@proxy.example:3128"},
		{"a value that is in a name", "nginx+gunicorn-w1-t1: gunicorn died", "nginx+gunicorn-w1-t1: gunicorn died"},
		{"the beginning of a message", show.Quote([]byte("the database of this app did not answer to password p@ssword, it said")), `"the database of this app did not answer to password (not written)"…`},
		{"the beginning of one with quotes", show.Quote([]byte("0123456789012345678901234567890123456789 and more " + odd)), `"0123456789012345678901234567890123456789 and more (not written)"…`},
		{"a line that is cut off", show.Shorten("the password is p@ssword, it said", 24), "the password is (not written)…"},
		{"a message that is not cut off", `it begins with "p@sswor"`, `it begins with "p@sswor"`},
		{"a value that is no secret", "resnet18, someone", "resnet18, someone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := scrub(test.text); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestRedactedAxis: the values of an axis are in names and results, so that they are
// written; those beside it are not.
func TestRedactedAxis(t *testing.T) {
	plan := parse(t, "topologies: {server: gunicorn, env: {FORMAT: [json-lines, msgpack], TOKEN: secret-4711}}\nmatrix: {requests: 1, client: single}\n").Plan()
	env := plan.Redacted().Trials[0].Topology.Env
	if env["FORMAT"] != plan.Trials[0].Topology.Env["FORMAT"] || env["TOKEN"] != show.Redacted {
		t.Errorf("%v", env)
	}
	if got := plan.Scrubber()("json-lines and secret-4711"); got != "json-lines and (not written)" {
		t.Error(got)
	}
}
