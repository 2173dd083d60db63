package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A PayloadFile is a file that the request sends, as it was when the run began.
type PayloadFile struct {
	Name   string `json:"name"`   // without its folder
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of the content, in hexadecimal
}

// PayloadFiles are the sizes and hashes of the request's files, in the order in which
// they are sent. It reads each file once, piece by piece. The error names a file that
// cannot be read.
func (r Request) PayloadFiles() ([]PayloadFile, error) {
	var all []PayloadFile
	for _, name := range r.Files() {
		f, err := readPayloadFile(name)
		if err != nil {
			return all, fmt.Errorf("payload file: %w", err)
		}
		all = append(all, f)
	}
	return all, nil
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
