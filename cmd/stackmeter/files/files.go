// Package files keeps what a command writes from what it reads: no output is the
// store, an input, or another output. It writes outputs so that one that fails
// leaves what was there.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/scenarios"
)

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

// Check looks at the files of any command before it does anything: no output
// is the store, something that the command reads, or another output.
func Check(flags *pflag.FlagSet, args []string) error {
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
			return usage.Errorf("--db %s: that is not a regular file; name another", db)
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
			return usage.Errorf("--%s: %w", flag, err)
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
			return usage.Errorf("standard output: that is %s, %s; write to another file", u.what, u.path)
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
		return usage.Errorf("%s %s: %w", flag, file, err)
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
		return usage.Errorf("--charts: %w", err)
	}
	for _, u := range used {
		path, _, err := destination(u.path)
		taken := err == nil && isChart(path) && (filepath.Dir(path) == filepath.Clean(dir) || sameFile(filepath.Dir(path), dir))
		for _, entry := range entries {
			taken = taken || isChart(entry.Name()) && sameFile(filepath.Join(dir, entry.Name()), u.path)
		}
		if taken {
			return usage.Errorf("--charts %s: a chart could replace %s, %s; name another folder", dir, u.what, u.path)
		}
	}
	return nil
}

func isChart(file string) bool {
	return slices.Contains([]string{".png", ".svg"}, filepath.Ext(file))
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

// CheckPlan refuses a store or a result that would be one of the plan's files.
// There may be no store, and no result.
func CheckPlan(plan scenarios.Plan, store, result string) error {
	used := planFiles(plan, "")
	for _, u := range used {
		if sameFile(store, u.path) {
			return usage.Errorf("--db %s: that is %s; name another file", store, u.what)
		}
	}
	return errors.Join(checkStdout(used), checkOutput("--json", result, planFiles(plan, result)))
}

// CheckBackup refuses a copy of the store over a file that is in use. Over the
// store itself, the store refuses it.
func CheckBackup(file, store string) error {
	path, _, err := destination(file)
	if err != nil {
		return nil // making the copy says what is wrong with it
	}
	if err := checkUnused(path, storeFiles(store)[1:]); err != nil {
		return usage.Errorf("backup %s: %w", file, err)
	}
	return nil
}
