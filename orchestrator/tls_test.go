package orchestrator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios/wire"
)

// TestTLS measures a stack that speaks TLS beside one that does not: ready and
// measured over HTTPS by its own name and authority, refused where they are not
// its own, and flagged where nothing is verified.
func TestTLS(t *testing.T) {
	b := newBench(t)
	certificate, key := selfSigned(t, "app.test")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
topologies:
  - {name: plain, command: [gunicorn, "--bind={host}:{port}", "{wsgi}"]}
  - name: encrypted
    tls: true
    command: [sh, -c, 'echo "$CERT" >/tmp/c; echo "$KEY" >/tmp/k; exec gunicorn --certfile=/tmp/c --keyfile=/tmp/k --bind={host}:{port} {wsgi}']
    env: {CERT: %q, KEY: %q}
matrix: {requests: [10], client: [mt], pool: [2], keepalive: [false, true]}
`, certificate, key)
	for _, test := range []struct {
		name   string
		verify *wire.TLS
		fails  string
	}{
		{"by its name and authority", &wire.TLS{CA: ca, ServerName: "app.test"}, ""},
		{"not at all", &wire.TLS{Insecure: true}, ""},
		{"by the machine's authorities", nil, "certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := b.plan(text)
			p.Request.TLS = test.verify
			p.App.Ready.Timeout = 20 * time.Second
			if test.fails != "" {
				p.App.Ready.Timeout = 3 * time.Second
			}
			b.run += "x" // another run
			for name, r := range b.mustExecute(p) {
				encrypted := strings.HasPrefix(name, "encrypted")
				if encrypted && test.fails != "" {
					if r.Status != results.StatusFailed || !strings.Contains(r.Reason, test.fails) {
						t.Errorf("%s: %s, %s", name, r.Status, r.Reason)
					}
					continue
				}
				if r.Status != results.StatusOK || r.Replies != 10 || r.Errors != 0 {
					t.Errorf("%s: %s, %d replies, errors %v: %s", name, r.Status, r.Replies, r.FirstErrors, r.Reason)
				}
				insecure := encrypted && test.verify != nil && test.verify.Insecure
				if got := slices.Contains(r.Flags, load.FlagInsecure); got != insecure {
					t.Errorf("%s: flags %v", name, r.Flags)
				}
			}
		})
	}
}

// selfSigned is a certificate for a name, that is its own authority, and its
// key, in PEM form.
func selfSigned(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, bytes []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", secret)
}
