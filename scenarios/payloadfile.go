package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A PayloadFile is one file that the request sends, as it was when the run
// began.
type PayloadFile struct {
	Name   string `json:"name"`   // without its folder
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of the content, in hexadecimal
}

// WithPayloadFiles is the plan with what its request's files hold now, in the
// order in which they are sent. They are read once, a piece at a time. The
// error names the file that cannot be read.
func (p Plan) WithPayloadFiles() (Plan, error) {
	p.PayloadFiles = nil
	for _, name := range p.Request.files() {
		f, err := readPayloadFile(name)
		if err != nil {
			return p, fmt.Errorf("payload file: %w", err)
		}
		p.PayloadFiles = append(p.PayloadFiles, f)
	}
	return p, nil
}

// files are the absolute paths of the payload files; none where payloads are
// generated.
func (r Request) files() []string {
	switch {
	case r.Multipart != nil:
		return r.Multipart.Files
	case r.Body != nil:
		return r.Body.Files
	}
	return nil
}

func readPayloadFile(name string) (PayloadFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return PayloadFile{}, err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return PayloadFile{}, err
	}
	return PayloadFile{Name: filepath.Base(name), Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}
