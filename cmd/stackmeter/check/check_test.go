package check

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"stackmeter/cmd/stackmeter/loadflags"
	"stackmeter/stacks/existing"
)

// TestCheck asks a server that is there already.
func TestCheck(t *testing.T) {
	routes := http.NewServeMux()
	routes.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		file, head, err := r.FormFile("image")
		if err != nil {
			t.Error(err)
			return
		}
		content, _ := io.ReadAll(file)
		w.Write([]byte(head.Filename + " " + head.Header.Get("Content-Type") + " " + http.DetectContentType(content) + " " + r.Header.Get("X-Key") + "\x1b[2J"))
	})
	routes.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("é", bodyShown)) })
	routes.HandleFunc("/bytes", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{0xff, 0xd8, 0, 1, 2, 3, 4, 5}) })
	routes.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/long", http.StatusFound) })
	routes.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: one\n\ndata: [DONE]\n\n")
	})
	routes.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(routes)
	defer server.Close()
	for name, test := range map[string]struct {
		path   string
		flags  []string
		fails  string // a part of the error; empty: there is none
		prints string
	}{
		"a form":          {"/echo", []string{"--generate=64x48", "--field=image", "--header=X-Key: hush-hush"}, "", "generated-000.jpg image/jpeg image/jpeg"},
		"a long body":     {"/long", nil, "", "… (4096 bytes in all)"},
		"no text":         {"/bytes", nil, "", "(8 bytes that are no text)"},
		"a redirect":      {"/moved", nil, "status 302 instead of 200", "Location: /long"},
		"another status":  {"/none", nil, "status 404 instead of 200", "404 Not Found"},
		"another body":    {"/long", []string{"--match=^ok"}, "does not match", "200 OK"},
		"a stream":        {"/stream", []string{"--expect-events=2", "--expect-last-event=[DONE]"}, "", "The answer is as expected: status 200, events 2, last event [DONE]"},
		"too few events":  {"/stream", []string{"--expect-events=3"}, "2 events", "200 OK"},
		"no stream":       {"/long", []string{"--stream=events"}, "no stream of events", "200 OK"},
		"chunks":          {"/long", []string{"--stream=chunks"}, "", "only a run tells them apart"},
		"no answer":       {"/silent", []string{"--timeout=50ms"}, "no answer within request.timeout, 50ms", ""},
		"nobody's secret": {"/echo", []string{"--generate=64x48", "--field=image", "--header=Authorization: Bearer hush-hush"}, "", "generated-000.jpg"},
	} {
		t.Run(name, func(t *testing.T) {
			flags := pflag.NewFlagSet("load", pflag.ContinueOnError)
			loadflags.Add(flags)
			if err := flags.Parse(test.flags); err != nil {
				t.Fatal(err)
			}
			url, scenario, err := loadflags.Scenario(server.URL+test.path, flags)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			plan := scenario.Plan()
			err = Check{Runtime: &existing.Runtime{URL: existing.At(url)}, Run: "test", Plan: plan, Topology: plan.Trials[0].Topology, Out: &out, Progress: func(string) {}}.Do(t.Context())
			if errors.Is(err, ErrFailed) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%v, want %q", err, test.fails)
			}
			if text := out.String(); !strings.Contains(text, test.prints) || strings.ContainsAny(text, "\x1b") || strings.Contains(text, "hush-hush") {
				t.Errorf("want %q and no secret in\n%s", test.prints, text)
			}
		})
	}
}

func TestIsText(t *testing.T) {
	for text, want := range map[string]bool{"": true, "ä": true, "ab\xc3": true, "\xe2\x82": true, "\xff": false, "a\xffb": false, "\xc3(": false} {
		if isText([]byte(text)) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}
