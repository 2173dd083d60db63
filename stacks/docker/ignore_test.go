package docker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/image"

	"stackmeter/scenarios"
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
			got, err := ignored(dir, "Dockerfile")
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

// TestThreat1NoGitInAContext: nothing of git reaches the builder, whatever
// .dockerignore says, and all else does.
func TestThreat1NoGitInAContext(t *testing.T) {
	r := engine(t)
	for _, ignore := range []string{"", "!.git\n!.git/config\n!**/.git/config\n"} {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"Dockerfile":         "FROM " + BaseImage + "\nCOPY . /sent\n",
			".git/config":        "token = secret",
			"sub/.git/config":    "token = secret",
			"link/.git":          "gitdir: ../.git/modules/link",
			"sub/app.py":         dir,
			"sub/.gitattributes": "",
			".dockerignore":      ignore,
		} {
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		id, err := r.buildFolder(t.Context(), scenarios.Build{Context: dir}, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = r.api.ImageRemove(context.Background(), id, image.RemoveOptions{Force: true}) })
		out, err := exec.Command("docker", "run", "--rm", "--network", "none", id, "find", "/sent", "-type", "f").Output()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(string(out))
		slices.Sort(got)
		if want := []string{"/sent/.dockerignore", "/sent/Dockerfile", "/sent/sub/.gitattributes", "/sent/sub/app.py"}; !slices.Equal(got, want) {
			t.Errorf("with %q in .dockerignore, the builder got %q, want %q", ignore, got, want)
		}
	}
}
