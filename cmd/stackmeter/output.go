package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkOutput refuses a file that cannot be written, before any work is done
// for it. It tries what output will do, except that a device or a pipe is not
// opened: whoever reads a pipe would take that for all of it.
func checkOutput(flag, file string) error {
	if file == "" || file == "-" {
		return nil
	}
	path, replaced, err := destination(file)
	if err == nil && replaced {
		err = tryFolder(filepath.Dir(path))
	} else if err == nil {
		err = unix.Access(path, unix.W_OK)
	}
	if err != nil {
		return usageError{fmt.Errorf("%s %s: %w", flag, file, err)}
	}
	return nil
}

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

// output writes to a file, which then is whole or what it was before, or to
// standard output.
func (a *app) output(file string, write func(io.Writer) error) error {
	if file == "-" {
		return write(a.stdout)
	}
	path, replaced, err := destination(file)
	if err == nil && replaced {
		err = replace(path, write)
	} else if err == nil {
		err = writeInto(path, write)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// destination is where a file really lies: at the end of its symbolic links,
// whether something is there already or not. It is replaced unless it is a
// device, a pipe or a socket, which has to stay what it is.
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
	for { // the links end where nothing is: a circle would not be ErrNotExist
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

func replace(path string, write func(io.Writer) error) error {
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
