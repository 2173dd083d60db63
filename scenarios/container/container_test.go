package container

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

// TestOver: what is said counts, also where it says none, and the rest is inherited.
func TestOver(t *testing.T) {
	yes, no := true, false
	app := Options{User: "svc", Entrypoint: []string{"tini", "--"}, ReadOnly: &yes, ShmSize: 1, Tmpfs: map[string]int64{"/tmp": 1}, PIDs: 20}
	got := Options{Entrypoint: []string{}, ReadOnly: &no, Init: &no, Tmpfs: map[string]int64{"/run": 2}}.Over(app)
	want := Options{User: "svc", Entrypoint: []string{}, ReadOnly: &no, Init: &no, ShmSize: 1, Tmpfs: map[string]int64{"/run": 2}, PIDs: 20}
	if !got.Same(want) || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (Options{}).Over(app); !got.Same(app) {
		t.Errorf("nothing said: %+v", got)
	}
	if app.InMemory() != 2 || want.InMemory() != 3 {
		t.Errorf("in memory: %d, %d", app.InMemory(), want.InMemory())
	}
}

// TestStored: an entry point that is left out stays one when it comes from the store.
func TestStored(t *testing.T) {
	for _, o := range []Options{{}, {Entrypoint: []string{}}, {Entrypoint: []string{"x"}, Ulimits: map[string]Ulimit{"core": {}}}} {
		text, err := json.Marshal(o)
		var back Options
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || !back.Same(o) {
			t.Errorf("%s: %+v, %v", text, back, err)
		}
	}
}

func TestWords(t *testing.T) {
	yes, no := true, false
	o := Options{
		User: "svc", Capabilities: []string{"CHOWN", "SETUID"}, Workdir: "/srv", Entrypoint: []string{"tini", "--"}, Init: &no, PIDs: 64,
		Ulimits: map[string]Ulimit{"stack": {8 << 20, endless}, "nofile": {1024, 1024}}, ShmSize: 1 << 30, ReadOnly: &yes, Tmpfs: map[string]int64{"/tmp": 64 << 20},
		Mounts: []Mount{{"/srv/models", "/models"}},
	}
	want := []string{"user svc", "capabilities CHOWN SETUID", "workdir /srv", `entrypoint ["tini" "--"]`, "no init process", "pids 64",
		"ulimit nofile 1024", "ulimit stack 8MiB to unlimited", "shm_size 1GiB", "read-only", "tmpfs /tmp 64MiB", "mount of /srv/models at /models, to be read"}
	if got := o.Words(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := o.Foreign(); !slices.Equal(got, []string{"user", "capabilities", "workdir", "shm_size", "read_only", "tmpfs", "mounts"}) {
		t.Errorf("only a container has %q", got)
	}
	if o = (Options{Init: &yes, ReadOnly: &no}); len(o.Words()) > 0 || len(o.Foreign()) > 0 {
		t.Errorf("what is so anyway: %q, %q", o.Words(), o.Foreign())
	}
}
