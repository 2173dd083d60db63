package python

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"stackmeter/orchestrator/load"
)

// TestTLS: with both engines a certificate that nobody vouches for is an error of kind
// connect, and one that is trusted is none.
func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes
	server.StartTLS()
	defer server.Close()
	request := get("/")
	request.Expect.Match = "^ok$"
	for _, spec := range enginesLoads(6, true) {
		job := load.Job{URL: server.URL, Request: request, Load: spec}
		for name, fire := range both(t) {
			if r := fire(t, job); r.ErrorKinds[load.ErrConnect] != 6 || r.Errors != 6 {
				t.Errorf("%s, %s: %d replies, errors %v: %v", name, spec.Client, r.Replies, r.ErrorKinds, r.FirstErrors)
			}
		}
		c := trusting(t, server.Certificate())
		r := mustFire(t, c, job)
		if r.Replies != 6 || r.Connect == nil || r.Connect.Count() > int64(spec.Pool) || r.FirstByte.Count() != 6 {
			t.Errorf("%s: %d replies, errors %v, connecting %v", spec.Client, r.Replies, r.FirstErrors, r.Connect)
		}
	}
}

// trusting is a client that trusts a certificate. requests takes its authorities from
// the environment, which the client's processes have nothing of: this client's
// interpreter brings its own.
func trusting(t *testing.T, authority *x509.Certificate) *Client {
	c, dir := local(t), t.TempDir()
	real, err := exec.LookPath(c.Launcher.(Local).Python)
	if err != nil {
		t.Fatal(err)
	}
	ca, python := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "python3")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(python, fmt.Appendf(nil, "#!/bin/sh\nREQUESTS_CA_BUNDLE='%s' exec '%s' \"$@\"\n", ca, real), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Launcher = Local{Python: python}
	return c
}
