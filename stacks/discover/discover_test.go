package discover

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stackmeter/stacks"
)

func TestServed(t *testing.T) {
	for command, want := range map[string]string{
		"/usr/bin/python3 /usr/bin/gunicorn --bind 0.0.0.0:8000 shop.wsgi:app":          "wsgi shop.wsgi:app",
		"gunicorn -k uvicorn.workers.UvicornWorker main:api":                            "asgi main:api",
		"/usr/bin/python3 /usr/bin/uvicorn main:make --factory --host 0.0.0.0":          "asgi main:make()",
		"waitress-serve --listen=*:8080 --call app:create":                              "wsgi app:create()",
		"uwsgi --http-socket=0.0.0.0:8000 --module=shop:app":                            "wsgi shop:app",
		"gunicorn: master [app:app]":                                                    "",
		"python3 run.py 0.0.0.0:8000":                                                   "",
		"/usr/bin/python3 /usr/bin/flask --app shop:app run --host 0.0.0.0 --port 5055": "wsgi shop:app",
	} {
		name, asgi := callableOf(command)
		got := name
		if name != "" {
			got = map[bool]string{true: "asgi ", false: "wsgi "}[asgi] + name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}

// embed is an app that describes itself, and one of a photo that does not.
func embed(t *testing.T) string {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	routes.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"paths": {"/health": {"get": {}}, "/items/{id}": {"post": {}}, "/embed": {"post": {"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Text"}}}}}}},
			"components": {"schemas": {"Text": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}}}}`)
	})
	routes.HandleFunc("POST /embed", func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Text string }
		if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Text == "" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	routes.HandleFunc("GET /up/alive", func(http.ResponseWriter, *http.Request) {})
	routes.HandleFunc("POST /v2/thumb", func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := r.FormFile("picture"); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	routes.HandleFunc("POST /classify", func(w http.ResponseWriter, r *http.Request) {
		if _, _, err := r.FormFile("photo"); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	server := httptest.NewServer(routes)
	t.Cleanup(server.Close)
	return server.URL
}

func TestFind(t *testing.T) {
	base := embed(t)
	if got, how := Ready(t.Context(), base, Inside{}); got != "/health" || !strings.HasPrefix(how, "it is a usual one") {
		t.Errorf("ready path %q: %s", got, how)
	}
	coded := Inside{Health: "/gone", Fields: []string{"picture"}, Routes: []Route{{"/up/alive", []string{"GET"}}, {"/v2/<id>", []string{"GET"}}, {"/v2/thumb", []string{"POST"}}}}
	if got, how := Ready(t.Context(), base, coded); got != "/up/alive" || !strings.HasPrefix(how, "its code has it") {
		t.Errorf("ready path %q: %s", got, how)
	}
	for _, test := range []struct {
		given Request
		in    Inside
		want  string
	}{
		{Request{}, Inside{}, `POST /embed with JSON: 201: the app's /openapi.json describes it`},
		{Request{File: "a.jpg", Data: []byte("\xff\xd8\xff")}, Inside{}, `POST /classify with a.jpg as field photo: 200: it answers with 2xx`},
		{Request{File: "a.jpg", Data: []byte("\xff\xd8\xff")}, coded, `POST /v2/thumb with a.jpg as field picture: 200: its code has the route, and it answers with 2xx`},
		{Request{Path: "/health"}, Inside{}, `GET /health: 200: the app's /openapi.json describes it`},
	} {
		found, err := Find(t.Context(), base, test.given, test.in)
		if got := fmt.Sprintf("%s: %d: %s", found.Request, found.Status, found.How); err != nil || got != test.want {
			t.Errorf("%+v: %s, %v", test.given, got, err)
		}
	}
	_, err := Find(t.Context(), base, Request{Path: "/nowhere"}, coded)
	for _, want := range []string{"give --path", "GET /nowhere: status 404", "Its code has GET /v2/<id>, POST /v2/thumb."} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// TestValue: what is made of a schema is what it allows.
func TestValue(t *testing.T) {
	for text, want := range map[string]string{
		`{"type": "string", "minLength": 8}`:                         `"hello he"`,
		`{"type": "string", "maxLength": 2}`:                         `"he"`,
		`{"type": "string", "format": "uuid"}`:                       `"3fa85f64-5717-4562-b3fc-2c963f66afa6"`,
		`{"type": "integer", "exclusiveMinimum": 4}`:                 `5`,
		`{"type": "number", "minimum": 2, "exclusiveMinimum": true}`: `3`,
		`{"type": "number", "maximum": 0.5}`:                         `0.5`,
		`{"type": ["boolean", "null"]}`:                              `true`,
		`{"anyOf": [{"type": "integer"}, {"type": "null"}]}`:         `1`,
		`{"oneOf": [{"const": "a"}]}`:                                `"a"`,
		`{"allOf": [{"$ref": "#/components/schemas/P"}, {"type": "object", "required": ["b"], "properties": {"b": {"type": "array", "minItems": 2, "items": {"enum": ["x"]}}}}]}`: `{"a":1,"b":["x","x"]}`,
		`{"$ref": "#/components/schemas/Loop"}`: `{"next":{"next":{"next":{"next":{"next":{"next":{"next":{"next":{"next":null}}}}}}}}}`,
	} {
		var page openAPI
		if err := json.Unmarshal([]byte(`{"components": {"schemas": {"P": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}},
			"Loop": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Loop"}}}}}}`), &page); err != nil {
			t.Fatal(err)
		}
		var s schema
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(page.value(s, 0)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

// TestPaces: what fails under load is no pace.
func TestPaces(t *testing.T) {
	base := embed(t)
	paces, err := Paces(t.Context(), base, Request{Path: "/health"}, 20*time.Millisecond, 4)
	if err != nil || len(paces) < 2 || paces[0].Pool != 1 || paces[1].Pool != 2 || paces[0].Rate <= 0 {
		t.Errorf("%v, %v", paces, err)
	}
	if _, err := Paces(t.Context(), base, Request{Path: "/nowhere"}, time.Millisecond, 4); err == nil || !strings.Contains(err.Error(), "status 404") {
		t.Errorf("%v", err)
	}
}

// TestDeclared: what labels say counts before what the image's command and its variables
// say, and that before what is in its files.
func TestDeclared(t *testing.T) {
	seen := found{}
	if err := json.Unmarshal([]byte(`{"Callables": [{"Name": "other:app", "Kind": "asgi", "File": "other.py"}, {"Name": "shop:create_app()", "Kind": "flask", "File": "shop/__init__.py"}]}`), &seen); err != nil {
		t.Fatal(err)
	}
	running := func(command string) stacks.Facts {
		return stacks.Facts{Services: []stacks.ServiceFacts{{Processes: []stacks.Process{{Command: command}}}}}
	}
	for name, test := range map[string]struct {
		says    stacks.Declared
		running string
		want    string
	}{
		"files":           {stacks.Declared{}, "python3 run.py", "asgi other:app: it is in other.py"},
		"FLASK_APP":       {stacks.Declared{Env: map[string]string{"FLASK_APP": "shop"}}, "flask run", "wsgi shop:create_app(): the image's FLASK_APP says so"},
		"a file":          {stacks.Declared{Env: map[string]string{"FLASK_APP": "./shop.py:create_app"}}, "flask run", "wsgi shop:create_app(): the image's FLASK_APP says so"},
		"--app":           {stacks.Declared{Env: map[string]string{"FLASK_APP": "other"}}, "/usr/bin/python3 /usr/bin/flask --app shop run", "wsgi shop:create_app(): the image's command runs flask with it"},
		"it runs":         {stacks.Declared{}, "/usr/bin/python3 /usr/bin/uvicorn api:make --factory", "asgi api:make(): the image's command serves it"},
		"renamed process": {stacks.Declared{Command: []string{"gunicorn", "shop:app"}}, "gunicorn: master", "wsgi shop:app: the image's command serves it"},
		"a label":         {stacks.Declared{Labels: map[string]string{"stackmeter.asgi": "a:b"}, Command: []string{"gunicorn", "shop:app"}}, "", "asgi a:b: the image's label stackmeter.asgi says so"},
	} {
		var in Inside
		in.declare(test.says)
		in.callable(running(test.running), test.says, seen)
		got := "wsgi " + in.WSGI
		if in.ASGI != "" {
			got = "asgi " + in.ASGI
		}
		if got += ": " + in.From; got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	var in Inside
	in.declare(stacks.Declared{
		Health: `CMD-SHELL curl -f http://localhost:5055/internal/alive?full=1 || exit 1`, Ports: []int{5055},
		Labels: map[string]string{"org.opencontainers.image.title": "The shop", "stackmeter.path": "/predict", "stackmeter.unknown": "x"},
	})
	if err := in.port(stacks.Declared{Ports: []int{5055}}); err != nil || in.Health != "/internal/alive?full=1" || in.Port != 5055 || len(in.Labels) != 2 || in.Labels["name"] != "The shop" || in.Labels["path"] != "/predict" {
		t.Errorf("%+v, %v", in, err)
	}
	in.declare(stacks.Declared{Labels: map[string]string{"stackmeter.port": "http"}})
	if err := in.port(stacks.Declared{}); err == nil {
		t.Error("a port that is none was taken")
	}
}
