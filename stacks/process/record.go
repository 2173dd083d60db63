//go:build linux

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A record says what a supervisor made and for whom. It is a file in a private
// folder. It is written before anything is made, and removed after everything is
// gone.
type record struct {
	Run        string
	Topology   string
	Service    string
	Mark       string   // of the processes of this service of one start of one stack
	Owner      string   // stacks.Owner
	Supervisor identity // set when it began
	First      identity // the service's first process, a session leader; set when it was started
	Groups     []string // folders of its control group
	Temp       string   // its private folder; may be empty
	Dir        string   // the folder that it was started in
}

// name names the service in a message.
func (r record) name() string {
	name := fmt.Sprintf("service %s of stack %s", r.Service, r.Topology)
	if r.First.PID > 0 {
		name += fmt.Sprintf(" (process %d)", r.First.PID)
	}
	return name
}

const recordSuffix = ".json"

// write writes the record atomically: a reader of the folder sees all of it or
// what was there before. It makes the folder again if the last supervisor of
// another stack has just removed it.
func (r record) write(file string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	part := file + ".part"
	err = whileRemoved(func() error {
		if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.WriteFile(part, text, 0o600)
	})
	if err == nil {
		err = os.Rename(part, file)
	}
	return err
}

// readRecords reads the records of a folder, by file. A folder that is not there
// has none.
func readRecords(folder string) (map[string]record, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	records := map[string]record{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), recordSuffix) {
			continue
		}
		file := filepath.Join(folder, e.Name())
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its supervisor has just removed it
		}
		var r record
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			return records, fmt.Errorf("record of a stack %s: %w; remove it when none of its processes runs", file, err)
		}
		records[file] = r
	}
	return records, nil
}

// privateFolders lists where records are looked for. They are written to the first
// one that can be used. The names do not depend on TMPDIR: another shell has to
// find what this one left.
func privateFolders() []string {
	uid := strconv.Itoa(os.Getuid())
	var list []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		list = append(list, filepath.Join(dir, "stackmeter"))
	}
	if dir := filepath.Join("/run/user", uid, "stackmeter"); len(list) == 0 || list[0] != dir {
		list = append(list, dir)
	}
	return append(list, "/tmp/stackmeter-"+uid)
}

// openFolder returns the first private folder that can be used, which it makes if
// necessary.
func openFolder(candidates []string) (string, error) {
	var failed error
	for _, dir := range candidates {
		err := openIn(dir)
		if err == nil {
			return dir, nil
		}
		failed = errors.Join(failed, err)
	}
	return "", fmt.Errorf("no private folder for the records of stacks: %w; set XDG_RUNTIME_DIR to a folder of your own", failed)
}

// whileRemoved does something in a folder again for as long as the folder is not
// there, at most for ten seconds: the last supervisor of another stack may remove it
// at any moment.
func whileRemoved(do func() error) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(rand.N(time.Millisecond)) {
		if err := do(); !errors.Is(err, fs.ErrNotExist) || time.Now().After(deadline) {
			return err
		}
	}
}

// openIn makes a folder if necessary, and tells why it cannot be used.
func openIn(dir string) error {
	if _, err := os.Stat(filepath.Dir(dir)); err != nil {
		return err
	}
	return whileRemoved(func() error {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return private(dir)
	})
}

// private refuses a folder that someone else made or could write to: in /tmp
// anyone may have been first.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a folder that only this user can use", dir)
	}
	return nil
}

// existing returns the folders that are there and private.
func existing(candidates []string) []string {
	var list []string
	for _, dir := range candidates {
		if private(dir) == nil {
			list = append(list, dir)
		}
	}
	return list
}
