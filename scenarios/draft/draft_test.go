package draft_test

import (
	"io"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/draft"
	"stackmeter/stacks/servers"
)

// TestLoads: what is written is a scenario, whatever is in it, and says what was meant.
func TestLoads(t *testing.T) {
	for name, d := range map[string]draft.Draft{
		"nothing is said": {},
		"ASGI":            {Image: "host:5000/team/api@sha256:0123", ASGI: "main:make()", JSON: `{"a": ["b: c", "# d"]}`, Under: []string{"memory_peak=2GiB"}},
		"odd texts":       {Image: "x:1", WSGI: "a:b", Path: "/a?b={c}%20#"[:10], Ready: "/y?n=1", Notes: map[string]string{"app.port": "two\nlines"}},
		"all servers":     {Image: "x:1", WSGI: "a:b", Topologies: draft.Topologies(true, false, []string{"flask", "gunicorn", "waitress", "uwsgi"}, 64)},
		"all of ASGI":     {Image: "x:1", ASGI: "a:b", Topologies: draft.Topologies(false, true, []string{"uvicorn", "hypercorn", "daphne"}, 1)},
	} {
		s, err := scenarios.Loader{Figures: results.Vocabulary(), Servers: servers.Known()}.Parse("service.yaml", []byte(d.String()))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, d)
			continue
		}
		full := d.WithDefaults()
		if p := s.Plan(); p.App.WSGI != full.WSGI || p.App.ASGI != full.ASGI || p.App.Port != full.Port || p.Request.Path != full.Path || len(p.Trials) == 0 {
			t.Errorf("%s: %+v\n%s", name, p.App, d)
		}
	}
}

func TestAsk(t *testing.T) {
	var out strings.Builder
	d := draft.Draft{Port: 5000}
	if err := draft.Ask(strings.NewReader("shop:1\n3\n2\nmain\n3\n1\nrelative\n/embed\n"), &out, &d); err != nil {
		t.Fatal(err)
	}
	if d.Image != "shop:1" || d.ASGI != "main:app" || d.Port != 5000 || d.Ready != "/healthz" || d.Path != "/embed" {
		t.Errorf("%+v", d)
	}
	for _, said := range []string{"answer 1 or 2", "write MODULE:CALLABLE", "a path starts with /", "2  ASGI (FastAPI, Starlette)"} {
		if !strings.Contains(out.String(), said) {
			t.Errorf("%q is not in\n%s", said, &out)
		}
	}
	if err := draft.Ask(strings.NewReader("shop:1\n"), io.Discard, &draft.Draft{}); err == nil {
		t.Error("answers that end are no answers")
	}
}
