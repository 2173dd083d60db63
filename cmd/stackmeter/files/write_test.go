package files

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOutputKeepsWhatItIs writes to what is no regular file of its own.
func TestOutputKeepsWhatItIs(t *testing.T) {
	write := func(file string) {
		t.Helper()
		if err := checkOutput("-o", file, nil); err != nil {
			t.Fatal(err)
		}
		if err := Write(io.Discard, file, func(w io.Writer) error { _, err := fmt.Fprint(w, "text"); return err }); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(file string) {
		t.Helper()
		info, err := os.Lstat(file)
		if err != nil || !info.Mode().IsRegular() {
			t.Fatalf("%s: %v, %v", file, info, err)
		}
		if text, err := os.ReadFile(file); err != nil || string(text) != "text" {
			t.Errorf("%s holds %q: %v", file, text, err)
		}
	}
	is := func(file string, mode os.FileMode) {
		t.Helper()
		if info, err := os.Lstat(file); err != nil || info.Mode().Type() != mode {
			t.Errorf("%s is no longer %v: %v, %v", file, mode, info, err)
		}
	}
	file := func(t *testing.T, dir, name string) string { return filepath.Join(t.TempDir(), dir, name) }

	t.Run("a new file", func(t *testing.T) {
		new := file(t, "", "new")
		write(new)
		holds(new)
	})
	t.Run("a FIFO", func(t *testing.T) {
		fifo := file(t, "", "fifo")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		reader, err := os.OpenFile(fifo, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		write(fifo)
		is(fifo, os.ModeNamedPipe)
		text := make([]byte, len("text"))
		if _, err := io.ReadFull(reader, text); err != nil || string(text) != "text" {
			t.Errorf("read %q: %v", text, err)
		}
	})
	t.Run("a pipe by its descriptor", func(t *testing.T) { // what a shell makes of >(command)
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		write(fmt.Sprintf("/dev/fd/%d", writer.Fd()))
		writer.Close()
		if text, err := io.ReadAll(reader); err != nil || string(text) != "text" {
			t.Errorf("read %q: %v", text, err)
		}
	})
	t.Run("a device", func(t *testing.T) {
		null := file(t, "", "null")
		if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
			t.Skipf("needs the right to make a device: %v", err)
		}
		write(null)
		is(null, os.ModeDevice|os.ModeCharDevice)
	})
	t.Run("a link", func(t *testing.T) {
		dir := t.TempDir()
		link, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
		if err := os.Symlink("target", link); err != nil {
			t.Fatal(err)
		}
		for range 2 { // first to nothing, then to what is there
			write(link)
			is(link, os.ModeSymlink)
			holds(target)
		}
	})
}

// TestOutputIsTried refuses, before anything is done, what could not be
// written afterwards.
func TestOutputIsTried(t *testing.T) {
	for _, file := range []string{
		t.TempDir(),
		filepath.Join(t.TempDir(), "none", "x.html"),
		"/proc/x.html", // a folder in which nobody can make a file, root neither
	} {
		if err := checkOutput("-o", file, nil); err == nil {
			t.Errorf("%s is not refused", file)
		}
	}
}
