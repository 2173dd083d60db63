package ready

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	for _, test := range []struct {
		probe Probe
		says  string
		json  string
		takes []int // of 200, 204, 302, 404 and 503
	}{
		{Probe{}, "GET  is answered with 2xx", `{"path":"","timeout_s":0}`, []int{200, 204}},
		{Default(), "GET / is answered with 2xx", `{"path":"/","timeout_s":60}`, []int{200, 204}},
		{Probe{Path: "/h", Method: "POST", Status: []string{"204", "4xx"}, JSON: []byte(`{}`)}, "POST /h is answered with 204 or 4xx",
			`{"path":"/h","method":"POST","status":["204","4xx"],"json":{},"timeout_s":0}`, []int{204, 404}},
		{Probe{TCP: true, Timeout: time.Second}, "it takes a TCP connection", `{"path":"","tcp":true,"timeout_s":1}`, []int{200, 204}},
		{Probe{Command: []string{"ls", "x y"}}, `["ls" "x y"] exits with status 0`, `{"path":"","command":["ls","x y"],"timeout_s":0}`, []int{200, 204}},
	} {
		if got := test.probe.String(); got != test.says {
			t.Errorf("says %q, want %q", got, test.says)
		}
		text, err := json.Marshal(test.probe)
		if err != nil || string(text) != test.json {
			t.Errorf("%s, %v, want %s", text, err, test.json)
		}
		var back Probe
		if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, test.probe) {
			t.Errorf("%s: %+v, %v", text, back, err)
		}
		var takes []int
		for _, status := range []int{200, 204, 302, 404, 503} {
			if test.probe.Accepts(status) {
				takes = append(takes, status)
			}
		}
		if !reflect.DeepEqual(takes, test.takes) {
			t.Errorf("%s: accepts %v, want %v", text, takes, test.takes)
		}
	}
	if Default().NeedsPort() || (Probe{Command: []string{"check"}}).NeedsPort() || !(Probe{TCP: true}).NeedsPort() || !(Probe{Command: []string{"check", "{host}:{port}"}}).NeedsPort() {
		t.Error("which probes need a port is not what it should be")
	}
	if !(Probe{Timeout: 1}).None() || Default().None() || (Probe{TCP: true}).None() || (Probe{Command: []string{"x"}}).None() {
		t.Error("what asks nothing is not what it should be")
	}
}
