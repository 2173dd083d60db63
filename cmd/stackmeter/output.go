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
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"stackmeter/scenarios"
)

// outputOptions say in which format a report is written, and where to.
type outputOptions struct {
	format string
	file   string
	charts string // a folder; empty: no charts
}

// flags adds the flags. checkFiles looks at the files before the command runs.
func (o *outputOptions) flags(cmd *cobra.Command, formats []string) {
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains(formats, o.format) {
			return unknown("format", o.format, formats)
		}
		return nil
	}
	cmd.Flags().StringVar(&o.format, "format", formats[0], strings.Join(formats, ", "))
	cmd.Flags().StringVarP(&o.file, "output", "o", "-", "`FILE` to write, - for standard output")
}

func (o *outputOptions) chartsFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.charts, "charts", "", "also write the charts into `DIR`, as PNG")
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

// A use is a file that a command reads or keeps, and what that is to the user.
type use struct{ what, path string }

// storeFiles are the store and the files that SQLite may have beside it.
func storeFiles(db string) []use {
	used := []use{{"the store", db}}
	if path, _, err := destination(db); err == nil {
		for _, end := range []string{"-journal", "-wal", "-shm"} {
			used = append(used, use{"a part of the store", path + end})
		}
	}
	return used
}

// planFiles are the files that a plan names. output is one of them if it is there
// already, below a folder that the app comes from, and not named as a result is.
func planFiles(plan scenarios.Plan, output string) []use {
	var used []use
	folders := []string{plan.App.Dir, plan.App.Venv}
	if plan.App.Build != nil {
		folders = append(folders, plan.App.Build.Context)
	}
	path, err := filepath.EvalSymlinks(output)
	if path, _ = filepath.Abs(path); err == nil && !slices.Contains([]string{".json", ".txt", ".log"}, filepath.Ext(path)) {
		for _, folder := range folders {
			folder, err := filepath.EvalSymlinks(folder)
			if below, outside := filepath.Rel(folder, path); err == nil && outside == nil && filepath.IsLocal(below) {
				used = append(used, use{"a file of the app", output})
			}
		}
	}
	for _, file := range plan.Reads() {
		used = append(used, use{"a file that the scenario reads", file})
	}
	return used
}

// checkFiles looks at the files of any command before it does anything: no output
// is the store, something that the command reads, or another output.
func checkFiles(flags *pflag.FlagSet, args []string) error {
	value := func(flag string) string {
		if f := flags.Lookup(flag); f != nil && f.Value.Type() == "string" {
			return f.Value.String()
		}
		return ""
	}
	var used []use
	if db := value("db"); db != "" {
		used = storeFiles(db)
		if info, err := os.Stat(db); err == nil && !info.Mode().IsRegular() {
			return usageError{fmt.Errorf("--db %s: that is not a regular file; name another", db)}
		}
	}
	for _, arg := range args {
		if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() {
			used = append(used, use{"a file that this command reads", arg})
		}
	}
	for _, flag := range []string{"ca", "nvml"} {
		used = append(used, use{"the file of --" + flag, value(flag)})
		if _, err := os.Stat(value(flag)); value(flag) != "" && err != nil {
			return usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
	}
	if err := errors.Join(checkStdout(used), checkOutput("-o", value("output"), used), checkOutput("--json", value("json"), used)); err != nil {
		return err
	}
	return checkCharts(value("charts"), append(used, use{"the file of -o", value("output")}))
}

// checkStdout refuses a standard output that goes to a file that is used already.
func checkStdout(used []use) error {
	info, err := os.Stdout.Stat()
	for _, u := range used {
		if other, gone := os.Stat(u.path); err == nil && gone == nil && info.Mode().IsRegular() && os.SameFile(info, other) {
			return usageError{fmt.Errorf("standard output: that is %s, %s; write to another file", u.what, u.path)}
		}
	}
	return nil
}

// checkOutput refuses a file that cannot be written, or is used already, before
// any work is done for it. It tries what output does, but opens no device and no
// pipe: the reader of a pipe would take that for the whole output.
func checkOutput(flag, file string, used []use) error {
	if file == "" || file == "-" {
		return nil
	}
	path, replaced, err := destination(file)
	if err == nil {
		err = checkUnused(path, used)
	}
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

// checkUnused refuses a path that leads to one of the used files, by whatever
// name, and to any database: somebody forgot --db in front of it.
func checkUnused(path string, used []use) error {
	for _, u := range used {
		if sameFile(path, u.path) {
			return fmt.Errorf("that is %s, %s; name another file", u.what, u.path)
		}
	}
	head := make([]byte, len(sqliteHead))
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		if _, err := io.ReadFull(f, head); err == nil && string(head) == sqliteHead {
			return errors.New("that is an SQLite database, and is not overwritten; name another file")
		}
	}
	return nil
}

// sqliteHead is what an SQLite file begins with.
const sqliteHead = "SQLite format 3\x00"

// checkCharts refuses a folder in which a chart could replace a used file. Which
// charts there are is known only when they are drawn.
func checkCharts(dir string, used []use) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // WriteCharts makes it
		return usageError{fmt.Errorf("--charts: %w", err)}
	}
	for _, u := range used {
		path, _, err := destination(u.path)
		taken := err == nil && filepath.Ext(path) == ".png" && (filepath.Dir(path) == filepath.Clean(dir) || sameFile(filepath.Dir(path), dir))
		for _, entry := range entries {
			taken = taken || filepath.Ext(entry.Name()) == ".png" && sameFile(filepath.Join(dir, entry.Name()), u.path)
		}
		if taken {
			return usageError{fmt.Errorf("--charts %s: a chart could replace %s, %s; name another folder", dir, u.what, u.path)}
		}
	}
	return nil
}

// sameFile reports whether two paths lead to the same file or folder. A file that
// is not there yet has the same folder and the same name.
func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	one, err := os.Stat(a)
	other, gone := os.Stat(b)
	if err == nil && gone == nil {
		return os.SameFile(one, other) && (one.Mode().IsRegular() || one.IsDir())
	}
	if err == nil || gone == nil {
		return false
	}
	a, _, err = destination(a)
	b, _, gone = destination(b)
	return err == nil && gone == nil && filepath.Base(a) == filepath.Base(b) && filepath.Dir(a) != a && sameFile(filepath.Dir(a), filepath.Dir(b))
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
