package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// The two ways in which the sample application is served here.
var (
	wsgi = []string{"gunicorn", "--bind", "0.0.0.0:8000", "--threads", "8", "wsgi:app"}
	asgi = []string{"uvicorn", "--host", "0.0.0.0", "asgi:app"}
)

// startClassifier serves the sample application from a container, and returns the
// container and its address.
func startClassifier(t *testing.T, server []string, env ...string) (id, url string) {
	t.Helper()
	const tag = "stackmeter-test/classifier"
	if err := exec.Command("docker", "image", "inspect", "debian:trixie-slim").Run(); err != nil {
		t.Skip("needs a Docker engine with the image debian:trixie-slim; run stacks/images/prepare")
	}
	docker(t, "build", "-q", "-t", tag, "classifier")
	args := []string{"run", "-d", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "-p", "127.0.0.1::8000"}
	for _, e := range env {
		args = append(args, "-e", e)
	}
	id = strings.TrimSpace(docker(t, append(append(args, tag), server...)...))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the container's log:\n%s", docker(t, "logs", id))
		}
		docker(t, "rm", "-f", id)
	})
	url = "http://" + strings.TrimSpace(docker(t, "port", id, "8000"))
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get(url + "/healthz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return id, url
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the sample application is not ready after two minutes")
		}
	}
}

// picture is a JPEG that differs from those of other numbers.
func picture(t *testing.T, number int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 320, 240))
	for y := range 240 {
		for x := range 320 {
			m.Set(x, y, color.RGBA{uint8(x * (number + 1)), uint8(y * (number + 3)), uint8(40 * number), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An answer is what a request got.
type answer struct {
	Status int    `json:"-"`
	Error  string `json:"error"`
	Model  string `json:"model"`
	Top5   []struct {
		Class       int     `json:"class"`
		Probability float64 `json:"probability"`
		Label       string  `json:"label"`
	} `json:"top5"`
	Batches map[string]int `json:"batches"`
}

// ask sends a request. The context may be traced. A failure is an answer without
// a status, so that several goroutines may ask.
func ask(ctx context.Context, method, url, contentType string, body []byte) answer {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{Error: err.Error()}
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if httptrace.ContextClientTrace(ctx) != nil {
		request.Header.Set("Expect", "100-continue")
	}
	// A server refuses a large body by its length, and closes the connection. What is
	// still sent by then is answered by a reset, so nothing is.
	if len(body) > 1<<20 {
		unsent, never := io.Pipe()
		defer never.Close()
		request.Body = unsent
	}
	// One transport for each: nobody waits for a connection.
	response, err := (&http.Transport{ExpectContinueTimeout: time.Minute, DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer response.Body.Close()
	var got answer
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return answer{Error: err.Error()}
	}
	got.Status = response.StatusCode
	return got
}

func predict(t *testing.T, url string, data []byte) answer {
	t.Helper()
	return ask(t.Context(), http.MethodPost, url+"/predict", "image/jpeg", data)
}

// same reports whether two answers are the same but for the last digits: a batch
// is not summed up in the order of a single image.
func same(a, b answer) bool {
	if a.Status != b.Status || len(a.Top5) != 5 || len(b.Top5) != 5 {
		return false
	}
	for i := range a.Top5 {
		if a.Top5[i].Class != b.Top5[i].Class || a.Top5[i].Label != b.Top5[i].Label || math.Abs(a.Top5[i].Probability-b.Top5[i].Probability) > 1e-5 {
			return false
		}
	}
	return true
}

func form(t *testing.T, field string, data []byte) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(field, "picture.jpg")
	if err == nil {
		_, err = part.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// TestClassifierAnswersAlike: WSGI and ASGI, with threads, in the event loop and in
// batches, give the same answers and refuse the same requests.
func TestClassifierAnswersAlike(t *testing.T) {
	good, ctx := picture(t, 1), t.Context()
	var first answer
	for _, c := range []struct {
		name   string
		server []string
		env    []string
	}{
		{"wsgi", wsgi, nil},
		{"wsgi in batches", wsgi, []string{"BATCH=4"}},
		{"asgi", asgi, nil},
		{"asgi in the event loop", asgi, []string{"EXECUTOR=loop"}},
		{"asgi in batches", asgi, []string{"BATCH=4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, url := startClassifier(t, c.server, c.env...)
			got := predict(t, url, good)
			if first.Status == 0 {
				first = got
			}
			if got.Status != http.StatusOK || got.Model != "resnet18" || !same(got, first) {
				t.Errorf("%+v, want %+v", got, first)
			}
			contentType, body := form(t, "file", good)
			if got := ask(ctx, http.MethodPost, url+"/predict", contentType, body); !same(got, first) {
				t.Errorf("as a form: %+v, want %+v", got, first)
			}
			contentType, body = form(t, "photo", good)
			for _, refused := range []struct {
				what, method, path, contentType string
				body                            []byte
				status                          int
				text                            string
			}{
				{"another field", "POST", "/predict", contentType, body, 400, `the form has no file in its field "file"`},
				{"no body", "POST", "/predict", "", nil, 400, "no image: send one"},
				{"no image", "POST", "/predict", "image/jpeg", []byte("GIF89a"), 400, "cannot be decoded as an image"},
				{"too much", "POST", "/predict", "image/jpeg", make([]byte, 33<<20), 413, ""},
				{"nothing there", "GET", "/nothing", "", nil, 404, ""},
				{"another method", "GET", "/predict", "", nil, 405, ""},
				{"no number of events", "GET", "/stream?events=many", "", nil, 400, "events=many: not a whole number"},
				{"a gap below 0", "GET", "/stream?gap_ms=-1", "", nil, 400, "gap_ms=-1: must be 0 or more"},
			} {
				got := ask(ctx, refused.method, url+refused.path, refused.contentType, refused.body)
				if got.Status != refused.status || got.Error == "" || !strings.Contains(got.Error, refused.text) {
					t.Errorf("%s: %+v, want %d: …%s…", refused.what, got, refused.status, refused.text)
				}
			}
		})
	}
}

// TestClassifierBatches: requests that wait are computed together, and one that is
// no image fails alone.
func TestClassifierBatches(t *testing.T) {
	const most, pictures = 4, 10
	_, plain := startClassifier(t, asgi)
	for name, server := range map[string][]string{"wsgi": wsgi, "asgi": asgi} {
		t.Run(name, func(t *testing.T) {
			_, url := startClassifier(t, server, fmt.Sprintf("BATCH=%d", most), "DELAY=1000")
			answers := make([]answer, pictures+1)
			var asked sync.WaitGroup
			for i := range answers {
				data := []byte("no image")
				if i < pictures {
					data = picture(t, i)
				}
				asked.Go(func() { answers[i] = predict(t, url, data) })
			}
			asked.Wait()
			for i := range pictures {
				if want := predict(t, plain, picture(t, i)); !same(answers[i], want) {
					t.Errorf("picture %d: %+v, alone %+v", i, answers[i], want)
				}
			}
			if got := answers[pictures]; got.Status != http.StatusBadRequest {
				t.Errorf("no image: %+v", got)
			}
			sum, largest := 0, 0
			health := ask(t.Context(), http.MethodGet, url+"/healthz", "", nil)
			for size, times := range health.Batches {
				var n int
				if _, err := fmt.Sscan(size, &n); err != nil {
					t.Fatal(err)
				}
				sum, largest = sum+n*times, max(largest, n)
			}
			if sum != pictures || largest != most {
				t.Errorf("batches %v: %d pictures, %d at most; want %d and %d", health.Batches, sum, largest, pictures, most)
			}
		})
	}
}

// TestClassifierAnswersBeforeItEnds: a server that is told to end answers what is
// in the queue of a batch.
func TestClassifierAnswersBeforeItEnds(t *testing.T) {
	id, url := startClassifier(t, asgi, "BATCH=8", "DELAY=3000")
	answers := make([]answer, 3)
	var taken, answered sync.WaitGroup
	for i := range answers {
		data := picture(t, i)
		taken.Add(1)
		// The app asked for the body: the server has the request.
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: taken.Done})
		answered.Go(func() { answers[i] = ask(ctx, http.MethodPost, url+"/predict", "image/jpeg", data) })
	}
	taken.Wait()
	docker(t, "stop", "-t", "60", id)
	answered.Wait()
	for i, got := range answers {
		if got.Status != http.StatusOK || len(got.Top5) != 5 {
			t.Errorf("request %d: %+v", i, got)
		}
	}
}

// TestClassifierStreams: so many events as are asked for, one after the other, and
// the last one says that it is.
func TestClassifierStreams(t *testing.T) {
	for name, server := range map[string][]string{"wsgi": wsgi, "asgi": asgi} {
		t.Run(name, func(t *testing.T) {
			_, url := startClassifier(t, server, "EVENTS=2", "GAP_MS=1")
			for path, want := range map[string]string{
				"/stream":          "data: {\"index\": 0}\n\ndata: {\"index\": 1}\n\ndata: [DONE]\n\n",
				"/stream?events=0": "data: [DONE]\n\n",
			} {
				response, err := http.Get(url + path)
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
				got, err := io.ReadAll(response.Body)
				if err != nil || string(got) != want || response.Header.Get("Content-Type") != "text/event-stream" {
					t.Errorf("%s: %q (%s), %v", path, got, response.Header.Get("Content-Type"), err)
				}
			}
			// The first event is here while the second is an hour away.
			response, err := http.Get(url + "/stream?gap_ms=3600000")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			event := make([]byte, len("data: {\"index\": 0}\n\n"))
			if _, err := io.ReadFull(response.Body, event); err != nil || string(event) != "data: {\"index\": 0}\n\n" {
				t.Errorf("%q, %v", event, err)
			}
		})
	}
}

// TestClassifierRefusesSettings: what it cannot start with is said, and ends it.
func TestClassifierRefusesSettings(t *testing.T) {
	for env, want := range map[string]string{
		"EXECUTOR=fork": "EXECUTOR=fork: must be one of: threads, loop",
		"THREADS=0":     "THREADS=0: must be 1 or more",
		"BATCH=many":    "BATCH=many: not a whole number",
		"DELAY=-1":      "DELAY=-1: must be 0 or more",
		"GAP_MS=2.5":    "GAP_MS=2.5: not a whole number",
	} {
		out, err := classifierPython(env, "-c", "import settings").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "SettingsError: "+want) {
			t.Errorf("%s: %v\n%s", env, err, out)
		}
	}
}

// TestBatching runs the cases of testdata/batching_test.py.
func TestBatching(t *testing.T) {
	if out, err := classifierPython("", "testdata/batching_test.py").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// classifierPython runs Python beside the sample application's modules.
func classifierPython(env string, args ...string) *exec.Cmd {
	python := exec.Command("python3", args...)
	python.Env = append(os.Environ(), "PYTHONPATH=classifier", "PYTHONDONTWRITEBYTECODE=1", env)
	return python
}
