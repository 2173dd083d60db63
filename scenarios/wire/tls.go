package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"regexp"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/folder"
	"stackmeter/scenarios/yamlfile"
)

// TLS is how the certificates of stacks that speak TLS are verified. The zero value
// does it as every client does: by the machine's own authorities and the address
// that the client connects to.
type TLS struct {
	CA         string `json:"ca,omitempty"`          // absolute, a PEM file with the authorities that are trusted instead of the machine's
	ServerName string `json:"server_name,omitempty"` // that the server is asked for (SNI) and that its certificate must be for
	Insecure   bool   `json:"insecure,omitempty"`    // nothing is verified, and every result says so
}

// Config is what a client connects with. It reads the CA file.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.Insecure, NextProtos: []string{"http/1.1"}}
	if t.Insecure {
		return c, nil
	}
	if t.CA == "" {
		var err error
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			return nil, fmt.Errorf("the machine's certificate authorities: %w; request.tls.ca can name a file", err)
		}
		return c, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("request.tls.ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("request.tls.ca: %s has no certificate in PEM form", t.CA)
	}
	return c, nil
}

func (d Reader) tls(n *yaml.Node) *TLS {
	t := &TLS{}
	d.Able(n, false, "remove it", "request.tls: the engine python-requests verifies certificates by its own rules only")
	o, ok := d.Object(n, "tls", "request.tls",
		yamlfile.Key("ca", func(n *yaml.Node) {
			var name string
			if !d.Text(n, "request.tls.ca", &name) {
				return
			}
			found, err := d.Folder.Files(folder.EscapeGlob(name), d.Given(n))
			if err != nil {
				d.Problem(n, "a PEM file with certificates, relative to the scenario file", "request.tls.ca: %v", err)
				return
			}
			t.CA = found[0]
		}),
		yamlfile.Key("server_name", func(n *yaml.Node) {
			d.Checked(n, "request.tls.server_name", &t.ServerName, validHost, "the name in the server's certificate, for example app.internal")
		}),
		yamlfile.Key("insecure", func(n *yaml.Node) { d.Boolean(n, "request.tls.insecure", &t.Insecure) }),
	)
	if ok && t.Insecure && o.Has("ca") {
		d.Problem(o.Keys["insecure"], "keep one of them", "request.tls has a ca, and insecure: true verifies nothing")
	}
	return t
}

// validHost is for names and addresses that a certificate can be for.
func validHost(s string) bool { return len(s) <= 253 && host.MatchString(s) || net.ParseIP(s) != nil }

var host = regexp.MustCompile(`^(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}$`)
