package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// outputOptions say in which format a report is written, and where to.
type outputOptions struct {
	formats []string // that there are, the default first
	format  string
	file    string
	charts  string // a folder; empty: no charts
}

// flags adds the flags, which are checked before the command runs.
func (o *outputOptions) flags(cmd *cobra.Command, formats []string) {
	o.formats = formats
	cmd.PreRunE = func(*cobra.Command, []string) error { return o.check() }
	cmd.Flags().StringVar(&o.format, "format", formats[0], strings.Join(formats, ", "))
	cmd.Flags().StringVarP(&o.file, "output", "o", "-", "`FILE` to write, - for standard output")
}

func (o *outputOptions) chartsFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.charts, "charts", "", "also write the charts into `DIR`, as PNG")
}

// check refuses a format that does not exist and a file that cannot be written.
func (o outputOptions) check() error {
	if !slices.Contains(o.formats, o.format) {
		return unknown("format", o.format, o.formats)
	}
	if o.file == "" {
		return usageError{errors.New("-o needs a file, or - for standard output")}
	}
	return checkOutput("-o", o.file)
}

// write writes a report, and its charts where they are asked for. A chart that
// fails does not keep the report from being written.
func (a *app) write(o outputOptions, draw func(dir string) ([]string, error), report func(io.Writer) error) error {
	var undrawn error
	if o.charts != "" {
		_, undrawn = draw(o.charts)
	}
	return errors.Join(undrawn, a.output(o.file, report))
}

// checkOutput refuses a file that cannot be written, before any work is done for
// it. It tries what output does, but opens no device and no pipe: the reader of a
// pipe would take that for the whole output.
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

// output writes to standard output or to a file. If it fails, a regular file is
// what it was before.
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
