package docker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestThreat1Ignore: a .dockerignore is a file in its context, of a size that
// one has, whatever else a stranger made of it.
func TestThreat1Ignore(t *testing.T) {
	tests := []struct {
		name    string
		make    func(file string) error
		want    []string
		refused string // part of the message; empty: it is read
	}{
		{"none", func(string) error { return nil }, nil, ""},
		{"a file", func(file string) error { return os.WriteFile(file, []byte("# these\na\n!b\n"), 0o644) }, []string{"a", "!b"}, ""},
		{"a link that stays inside", func(file string) error { return os.Symlink("other", file) }, []string{"c"}, ""},
		{"a link to a device without an end", func(file string) error { return os.Symlink("/dev/zero", file) }, nil, "escapes"},
		{"a link to a file outside", func(file string) error { return os.Symlink("../outside", file) }, nil, "escapes"},
		{"a named pipe", func(file string) error { return syscall.Mkfifo(file, 0o644) }, nil, "is not a file"},
		{"a folder", func(file string) error { return os.Mkdir(file, 0o755) }, nil, "is not a file"},
		{"a file too large", func(file string) error { return os.WriteFile(file, make([]byte, maxIgnore+1), 0o644) }, nil, "larger than"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "context")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"outside": "secret", "context/other": "c"} {
				if err := os.WriteFile(filepath.Join(above, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := test.make(filepath.Join(dir, ".dockerignore")); err != nil {
				t.Fatal(err)
			}
			got, err := ignored(dir)
			if test.refused == "" {
				if err != nil || !slices.Equal(got, test.want) {
					t.Errorf("%q, %v; want %q", got, err, test.want)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%q, %v; want an error with %q", got, err, test.refused)
			}
		})
	}
}
