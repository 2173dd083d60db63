package stacks

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestArgv(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"the own address", "--bind={host}:{port}", "--bind=0.0.0.0:80"},
		{"another service's", "http://{host:back}:{port:back}/", "http://10.0.0.7:8000/"},
		{"a service that is not there", "{host:nobody}", "{host:nobody}"},
		{"braces", "{{}}", "{}"},
		{"a placeholder that is none", "{{port}}", "{port}"},
		{"a placeholder in braces", "{{{port}}}", "{80}"},
		{"what a host looks like is left alone", "{host:odd}", "{port}"},
		{"another word", "{other}", "{other}"},
	}
	reach := map[string]Address{"back": {Host: "10.0.0.7", Port: 8000}, "odd": {Host: "{port}", Port: 1}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Service{Command: []string{"serve", test.text}}.Argv(Site{Listen: Address{Host: "0.0.0.0", Port: 80}, Reach: reach})
			if !slices.Equal(got, []string{"serve", test.want}) {
				t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
			}
		})
	}
	if got := (Service{}).Argv(Site{}); got != nil {
		t.Errorf("no command becomes %q", got)
	}
}

func TestOwner(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseOwner(self.String())
	if err != nil || read != self {
		t.Errorf("%v read back as %v, %v", self, read, err)
	}
	if self.Machine == "" || strings.ContainsAny(self.Machine, " \n") {
		t.Errorf("machine %q", self.Machine)
	}
	if _, err := ParseOwner("nonsense"); err == nil {
		t.Error("nonsense is an owner")
	}
	change := func(f func(*Owner)) Owner {
		o := self
		f(&o)
		return o
	}
	tests := []struct {
		name  string
		owner Owner
		gone  bool
	}{
		{"this process", self, false},
		{"the parent, alive", change(func(o *Owner) { o.PID = os.Getppid(); o.Start, _ = StartTime(o.PID) }), false},
		{"another process under the same PID", change(func(o *Owner) { o.Start++ }), true},
		{"no such process", change(func(o *Owner) { o.PID = 1 << 30 }), true},
		{"before a reboot", change(func(o *Owner) { o.Boot = "earlier" }), true},
		{"before a reboot, from another PID namespace", change(func(o *Owner) { o.Boot = "earlier"; o.Namespace = "pid:[1]" }), true},
		{"on another machine", change(func(o *Owner) { o.Boot = "its own"; o.Machine = "other/host" }), false},
		{"in another PID namespace", change(func(o *Owner) { o.PID = 1 << 30; o.Namespace = "pid:[1]" }), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.owner.Gone(self); got != test.gone {
				t.Errorf("gone: %v, want %v", got, test.gone)
			}
		})
	}
}
