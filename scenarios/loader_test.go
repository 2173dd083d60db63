package scenarios

import (
	"strings"
	"testing"
)

// TestSettings: values that come from elsewhere than a file are checked as a
// file's are, and a problem names where they come from.
func TestSettings(t *testing.T) {
	set := func(path, value string) Setting {
		return Setting{From: "--" + path[strings.LastIndexByte(path, '.')+1:], Path: path, Value: value}
	}
	whole := []Setting{set("matrix.requests", "10"), set("matrix.client", "single")}
	there := Loader{Server: &Topology{Name: "http://there/", Server: ServerExisting}}
	s, err := there.ParseSettings("load", append(whole, set("request.headers.Accept", `"a: b"`)))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Topologies) != 1 || s.Topologies[0].Name != "http://there/" || s.App.Ready.Path != "" || s.Request.Headers["Accept"] != "a: b" {
		t.Errorf("%+v", s)
	}
	for _, test := range []struct {
		name     string
		loader   Loader
		settings []Setting
		want     string
	}{
		{"no server", Loader{Servers: known}, whole, "load: the scenario has no topologies"},
		{"no load", there, whole[:1], "load: the matrix has no client"},
		{"out of bounds", there, []Setting{whole[1], set("matrix.requests", "0")}, "--requests: matrix.requests must be from 1"},
		{"said twice", there, append(whole, Setting{"--count", "matrix.requests", "10"}), "--count: --requests already says what matrix.requests is"},
		{"no YAML", there, append(whole, set("request.method", "[")), "--method: not valid YAML"},
		{"TLS where none is spoken", there, append(whole, set("request.tls.insecure", "true")), "no topology speaks it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := test.loader.ParseSettings("load", test.settings); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	// The value of a header may be a secret.
	_, err = there.ParseSettings("load", append(whole, set("request.headers.Accept", `"a\nhunter22"`)))
	if err == nil || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("a header with a line break: %v", err)
	}
}
