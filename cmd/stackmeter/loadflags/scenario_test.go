package loadflags

import (
	"testing"

	"github.com/spf13/pflag"

	"stackmeter/scenarios/message"
)

// TestHeaderNamesNoVariable: a header of load is sent as it is given.
func TestHeaderNamesNoVariable(t *testing.T) {
	const want = "${HOME} $${HOME} $"
	flags := pflag.NewFlagSet("load", pflag.ContinueOnError)
	Add(flags)
	if err := flags.Parse([]string{"--header=X-A: " + want}); err != nil {
		t.Fatal(err)
	}
	_, s, err := Scenario("http://127.0.0.1/", flags)
	if err != nil {
		t.Fatal(err)
	}
	if got := message.Fill(s.Request.Headers, s.App.Env)["X-A"]; got != want {
		t.Errorf("%q is sent as %q", want, got)
	}
}
