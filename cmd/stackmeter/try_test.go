package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Apps that stackmeter does not know, each as the files of an image.
var strangeApps = map[string]map[string]string{
	"shop": {
		"Dockerfile": `FROM stackmeter-test/servers
WORKDIR /srv
COPY shop shop
ENV FLASK_APP=shop
HEALTHCHECK CMD python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5055/internal/alive')"
CMD ["flask", "run", "--host=0.0.0.0", "--port=5055"]
`,
		"shop/__init__.py": `import os
from flask import Blueprint, Flask, abort, request

api = Blueprint("api", __name__)

@api.post("/thumbprint")
def thumbprint():
    return {"bytes": len(request.files["picture"].read()), "size": os.environ["SIZE"]}

def create_app():
    app = Flask(__name__)
    app.register_blueprint(api, url_prefix="/v2")

    @app.get("/internal/alive")
    def alive():
        return {"ok": True}

    return app
`,
	},
	"texts": {
		"Dockerfile": `FROM stackmeter-test/servers
WORKDIR /code
COPY main.py .
CMD ["uvicorn", "main:service", "--host", "0.0.0.0", "--port", "9100"]
`,
		"main.py": `from fastapi import FastAPI
from pydantic import BaseModel, Field

service = FastAPI()

class Text(BaseModel):
    text: str = Field(min_length=7)
    language: str | None = None

@service.get("/ready")
def ready():
    return {"ready": True}

@service.post("/embed", status_code=201)
def embed(text: Text):
    return {"length": len(text.text)}
`,
	},
	"prices": {
		"Dockerfile": `FROM stackmeter-test/servers
WORKDIR /prices
COPY serve.py .
LABEL stackmeter.path=/price?of=tea
EXPOSE 7070
CMD ["python3", "serve.py", "7070"]
`,
		"serve.py": `import http.server, sys

class Price(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/health", "/price?of=tea") else 404)
        self.end_headers()

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Price).serve_forever()
`,
	},
}

// TestTry goes from images that stackmeter does not know to a decision: a factory of
// Flask's behind a blueprint, FastAPI with its OpenAPI page, and a command of an image's
// own, which is a folder with a Dockerfile. What it ends with works as it is printed.
func TestTry(t *testing.T) {
	s := newSessionAlone(t)
	docker := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %v: %v\n%s", args, err, out)
		}
	}
	images := []string{"stackmeter-test/servers"}
	t.Cleanup(func() { _ = exec.Command("docker", append([]string{"rmi", "-f"}, images...)...).Run() })
	docker("build", "-q", "-t", images[0], s.app)
	for name, files := range strangeApps {
		for file, text := range files {
			path := filepath.Join(s.dir, name, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"shop", "texts"} {
		images = append(images, "stackmeter-test/"+name+":1")
		docker("build", "-q", "-t", "stackmeter-test/"+name+":1", filepath.Join(s.dir, name))
	}
	if err := os.WriteFile(filepath.Join(s.dir, "photo.jpg"), []byte("\xff\xd8\xff\xe0"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args            []string
		said, scenario  []string // that it has to say
		printed, finish []string
	}{
		{
			args: []string{"stackmeter-test/shop:1", "--file", "photo.jpg", "--env", "SIZE=small", "--time", "2s", "--requests", "20"},
			said: []string{
				"shop:create_app(): the image's FLASK_APP says so  (--wsgi)",
				"5055: the image's own command listens there  (--port)",
				"flask, gunicorn", "(--topology)",
				"/internal/alive: the image's health check asks it, and is answered with 2xx  (--ready)",
				"POST /v2/thumbprint with photo.jpg as field picture, answered with 200: its code has the route",
				"search among flask, gunicorn-w1-t1", "(--topology, --time)",
			},
			scenario: []string{"wsgi: shop:create_app()", "port: 5055", "SIZE: small", "multipart: {field: picture, files: [photo.jpg]}", "- flask\n", "- nginx + gunicorn w1/t4\n"},
			printed:  []string{"Deploy ", "never started"},
		},
		{
			args: []string{"stackmeter-test/texts:1", "--time", "2s", "--requests", "20"},
			said: []string{
				"main:service: the image's command serves it  (--asgi)", "9100: the image's own command listens there",
				"/ready: its code has it", "POST /embed with JSON, answered with 201: the app's /openapi.json describes it", `{"text":"hello h"}  (--json)`,
			},
			scenario: []string{"asgi: main:service", `json: {"text":"hello h"}`, "expect: {status: 201}", "- uvicorn w1\n"},
			printed:  []string{"Deploy "},
		},
		{
			args: []string{"prices", "--time", "8s", "--requests", "20", "--pool", "2"},
			said: []string{
				"/price?of=tea: the image's label says so  (--path)", "python3 serve.py 7070: its own; no WSGI or ASGI callable was found", "(--wsgi, --asgi)",
				"7070: the image's own command listens there", "/health: it is a usual one", "GET /price?of=tea, answered with 200: the path was given",
			},
			scenario: []string{"build: {context: prices}", `- {name: own, proxy: [none, nginx], command: [python3, serve.py, "7070"]}`},
			printed:  []string{"Deploy ", "Next "},
			finish:   []string{"stackmeter export ", "stackmeter run service.yaml", "stackmeter report "},
		},
	} {
		name := filepath.Base(test.args[0])
		_ = os.Remove(filepath.Join(s.dir, "service.yaml"))
		cmd := s.exec(t.Context(), append([]string{"try", "--progress", "plain"}, test.args...)...)
		var out, said strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &said
		began := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s%s", name, err, &said, &out)
		}
		t.Logf("%s: %v", name, time.Since(began))
		scenario, err := os.ReadFile(filepath.Join(s.dir, "service.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		_, answer, _ := strings.Cut(out.String(), "\nDeploy ")
		answer = "Deploy " + answer
		for in, wants := range map[string][]string{said.String(): test.said, string(scenario): test.scenario, answer: append(test.printed, test.finish...)} {
			for _, want := range wants {
				if !strings.Contains(in, want) {
					t.Errorf("%s: no %q in\n%s", name, want, in)
				}
			}
		}
		if answered := s.does(s.exec(t.Context(), "check", "service.yaml")); !strings.Contains(answered, "The answer is as expected") {
			t.Errorf("%s: check says\n%s", name, answered)
		}
		for _, command := range test.finish {
			s.doesAsPrinted(answer, command)
		}
	}
	run, _ := s.stored() // that of the command that was printed
	if got, want := run.Plan.Repeats, 6; got != want || run.Plan.Search != nil || run.Counts.OK != 18 {
		t.Errorf("%d repeats, want %d; %+v", got, want, run.Counts)
	}
	for _, file := range []string{"compose.yaml", "report.html"} {
		if text, err := os.ReadFile(filepath.Join(s.dir, file)); err != nil || !strings.Contains(string(text), "prices") {
			t.Errorf("%s: %v\n%.200s", file, err, text)
		}
	}
}

// doesAsPrinted runs the command that a text has on a line of its own, in a shell, as it is.
func (s *session) doesAsPrinted(text, begins string) {
	s.t.Helper()
	i := strings.Index(text, begins)
	if i < 0 {
		return // which is reported
	}
	line, _, _ := strings.Cut(strings.ReplaceAll(text[i:], "\\\n", ""), "\n")
	cmd := s.inside(exec.CommandContext(s.t.Context(), "sh", "-c", line))
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(s.program)+":"+os.Getenv("PATH"))
	s.does(cmd)
}
