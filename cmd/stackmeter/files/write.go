package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stackmeter/cmd/stackmeter/usage"
)

func tryFolder(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no folder %s", dir)
	}
	tmp, err := newOutput(dir)
	if err != nil {
		return err
	}
	return errors.Join(tmp.Close(), os.Remove(tmp.Name()))
}

// Write writes to standard output or to a file. If it fails, a regular file is
// what it was before.
func Write(stdout io.Writer, file string, write func(io.Writer) error) error {
	if file == "-" {
		return write(stdout)
	}
	path, replaced, err := destination(file)
	if err == nil && replaced {
		err = Replace(path, write)
	} else if err == nil {
		err = writeInto(path, write)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// destination follows a file's symbolic links to where it is or will be. replaced
// is false for a device, a pipe or a socket, which stays what it is.
func destination(file string) (path string, replaced bool, err error) {
	info, err := os.Stat(file)
	switch {
	case err == nil && info.IsDir():
		return "", false, errors.New("that is a folder")
	case err == nil && !info.Mode().IsRegular():
		return file, false, nil
	case err == nil:
		path, err = filepath.EvalSymlinks(file)
		return path, true, err
	case !errors.Is(err, fs.ErrNotExist):
		return "", false, err
	}
	for { // a circle of links would not be ErrNotExist
		to, err := os.Readlink(file)
		if err != nil {
			return file, true, nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Dir(file) + string(filepath.Separator) + to // not cleaned: the folder may be a link
		}
		file = to
	}
}

func newOutput(dir string) (*os.File, error) { return os.CreateTemp(dir, ".stackmeter-*") }

// Replace writes a regular file, which appears when it is whole.
func Replace(path string, write func(io.Writer) error) error {
	tmp, err := newOutput(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func writeInto(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// Beside writes further files of an output, by their names relative to its folder. It
// replaces only what it has written itself, which begins with mark.
func Beside(file, mark string, texts map[string]string) error {
	dir := filepath.Dir(file)
	names := slices.Sorted(maps.Keys(texts))
	for _, name := range names {
		before, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil && !strings.HasPrefix(string(before), mark) {
			return usage.Errorf("%s is there, and not a file of this command: move it away, or write to another folder", filepath.Join(dir, name))
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := Replace(path, func(w io.Writer) error { _, err := io.WriteString(w, texts[name]); return err }); err != nil {
			return err
		}
	}
	return nil
}
