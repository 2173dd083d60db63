// Package folder is where a scenario's paths begin, and what they may lead to.
package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"stackmeter/scenarios/show"
)

// A Folder is the one that holds the scenario file. Only here do a scenario's
// paths become absolute, and only here is the file system looked at.
type Folder struct {
	dir     string   // absolute
	allowed []string // absolute; where else the operator lets paths lead
}

// Of returns the folder of a file, with those that the operator lets its paths lead
// to as well.
func Of(file string, allow []string) (home Folder, err error) {
	if home.dir, err = filepath.Abs(filepath.Dir(file)); err != nil {
		return home, fmt.Errorf("scenario %s: %w", file, err)
	}
	for _, name := range allow {
		allowed, err := filepath.Abs(name)
		if err == nil {
			_, err = os.ReadDir(allowed)
		}
		if err != nil {
			return home, fmt.Errorf("--allow-path %s: %w", name, err)
		}
		home.allowed = append(home.allowed, allowed)
	}
	return home, nil
}

// Path makes a path absolute.
func (f Folder) Path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(f.dir, name)
}

// EscapeGlob turns a name into a pattern that matches only that name.
func EscapeGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// Files returns the regular files that a glob of path/filepath matches, sorted.
// A glob that is not trusted must stay in the folder or in an allowed one.
func (f Folder) Files(glob string, trusted bool) ([]string, error) {
	if !trusted && f.root(f.Path(glob)) == "" {
		return nil, fmt.Errorf("%s %w", show.Quote(glob), errOutside)
	}
	meta := strings.ContainsAny(glob, `*?[\`)
	pattern := glob
	if !filepath.IsAbs(glob) {
		// Nothing in the folder's own name is a pattern.
		pattern = filepath.Join(EscapeGlob(f.dir), glob)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s is not a pattern: it has an unclosed [ or ends with \\", show.Quote(glob))
	}
	if !trusted {
		if err := f.confine(glob, found); err != nil {
			return nil, err
		}
	}
	var files []string
	for _, name := range found {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", show.Quote(glob), reason(err))
		}
		if info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	switch {
	case len(files) > 0:
		return files, nil
	case len(found) > 0:
		return nil, fmt.Errorf("%s is not a file", show.Quote(glob))
	case meta:
		return nil, fmt.Errorf("no file matches %s", show.Quote(glob))
	}
	return nil, fmt.Errorf("there is no file %s", show.Quote(glob))
}

// Read returns the content of a text file, of at most so many bytes.
func (f Folder) Read(name string, trusted bool, most int) (string, error) {
	files, err := f.Files(EscapeGlob(name), trusted)
	if err != nil {
		return "", err
	}
	file, err := os.Open(files[0])
	if err != nil {
		return "", fmt.Errorf("file %s: %w", show.Quote(name), reason(err))
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("file %s: %w", show.Quote(name), reason(err))
	case len(text) > most:
		return "", fmt.Errorf("file %s is longer than %d bytes", show.Quote(name), most)
	case !utf8.Valid(text):
		return "", fmt.Errorf("file %s is no text in UTF-8", show.Quote(name))
	}
	return string(text), nil
}

// Exists checks that a folder exists.
func (f Folder) Exists(what, name string) error {
	if info, err := os.Stat(f.Path(name)); err != nil {
		return fmt.Errorf("%s %s: %w", what, show.Quote(name), reason(err))
	} else if !info.IsDir() {
		return fmt.Errorf("%s %s is not a folder", what, show.Quote(name))
	}
	return nil
}

// BuildContext checks that a folder and the Dockerfile in it exist. A context
// that is not trusted must be in the scenario's checkout.
func (f Folder) BuildContext(context, dockerfile string, trusted bool) error {
	if err := f.Exists("build context", context); err != nil {
		return err
	}
	if !trusted {
		if err := f.checkedOut(context); err != nil {
			return err
		}
	}
	// The builder sees nothing but the context. Neither does this check.
	root, err := os.OpenRoot(f.Path(context))
	if err != nil {
		return fmt.Errorf("build context %s: %w", show.Quote(context), reason(err))
	}
	defer root.Close()
	info, err := root.Stat(dockerfile)
	if err != nil {
		return fmt.Errorf("build context %s has no %s: %w", show.Quote(context), dockerfile, reason(err))
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s in build context %s is not a file", dockerfile, show.Quote(context))
	}
	return nil
}

// reason is an error of the file system without its path: the message names the
// path as the scenario has it.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// A scenario can come from a pull request. The rest of this file keeps it from
// reading the operator's files and from loading code into the measured servers.

// errOutside is the error of a path that leads where a scenario has no business.
var errOutside = errors.New("leads out of the scenario's folder")

// Hint says what to do about a path that was refused.
func Hint(err error) string {
	if errors.Is(err, errOutside) {
		return "--allow-path DIR allows files elsewhere, and --set may name any: a scenario can come from a stranger, the command line cannot"
	}
	return "paths are relative to the scenario file"
}

// root returns the one of the scenario's own and the allowed folders that an
// absolute path is in, going by names; empty if it is in none.
func (f Folder) root(path string) string {
	for _, dir := range append([]string{f.dir}, f.allowed...) {
		if within(dir, path) {
			return dir
		}
	}
	return ""
}

// within reports whether a cleaned absolute path is the folder or below it.
func within(dir, path string) bool {
	name, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(name)
}

// confine checks that no symbolic link on the way to a file leads out. os.Root
// follows the links, so the check is about what the kernel would open and not a
// guess by names.
func (f Folder) confine(glob string, files []string) error {
	roots := map[string]*os.Root{}
	defer func() {
		for _, root := range roots {
			root.Close()
		}
	}()
	for _, file := range files {
		dir := f.root(file)
		if dir == "" {
			return fmt.Errorf("%s %w", show.Quote(glob), errOutside)
		}
		if roots[dir] == nil {
			root, err := os.OpenRoot(dir)
			if err != nil {
				return fmt.Errorf("folder of %s: %w", show.Quote(glob), reason(err))
			}
			roots[dir] = root
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return fmt.Errorf("%s: %w", show.Quote(glob), err)
		}
		if _, err := roots[dir].Stat(name); err != nil {
			if _, there := os.Stat(file); there == nil {
				return fmt.Errorf("%s %w: %s is, or is behind, a symbolic link", show.Quote(glob), errOutside, show.Quote(name))
			}
			return fmt.Errorf("file %s: %w", show.Quote(glob), reason(err))
		}
		if real, err := filepath.EvalSymlinks(file); err != nil {
			return fmt.Errorf("file %s: %w", show.Quote(glob), reason(err))
		} else if realDir, err := filepath.EvalSymlinks(dir); err != nil {
			return fmt.Errorf("folder of %s: %w", show.Quote(glob), reason(err))
		} else if gits(realDir, real) {
			return fmt.Errorf("%s %w: %s belongs to git", show.Quote(glob), errOutside, show.Quote(name))
		}
	}
	return nil
}

// gits reports whether a path below a folder belongs to git itself and not to
// what is checked out there. The checkout of a CI job may keep a token in
// .git/config.
func gits(dir, path string) bool {
	name, err := filepath.Rel(dir, path)
	return err == nil && slices.Contains(strings.Split(name, string(filepath.Separator)), ".git")
}

// checkedOut checks that a build context is in the same git checkout as the
// scenario, or in an allowed folder. The whole context goes to the engine: with
// one above the checkout, the Dockerfile of a pull request could copy the
// operator's files into its image. Git's own folder is not part of a checkout.
// For a scenario outside of any checkout it is the source tree that counts, and
// without one the scenario's own folder.
func (f Folder) checkedOut(context string) error {
	real, err := filepath.EvalSymlinks(f.Path(context))
	if err != nil {
		return fmt.Errorf("build context %s: %w", show.Quote(context), reason(err))
	}
	home, err := filepath.EvalSymlinks(f.dir)
	if err != nil {
		return fmt.Errorf("the scenario's folder: %w", reason(err))
	}
	for _, dir := range f.allowed {
		if within(dir, real) {
			return nil
		}
	}
	checkout, what := above(home, ".git"), "of the checkout that holds it"
	if checkout == "" {
		checkout, what = above(home, "go.mod", "pyproject.toml"), "of the source tree that holds it"
	}
	if checkout == "" {
		checkout, what = home, "that folder is in no checkout or source tree"
	}
	switch {
	case !within(checkout, real):
		return fmt.Errorf("build context %s %w and %s", show.Quote(context), errOutside, what)
	case gits(checkout, real):
		return fmt.Errorf("build context %s %w: it belongs to git", show.Quote(context), errOutside)
	}
	return nil
}

// above returns the nearest folder, from this one upwards, that has an entry of
// one of the names; empty if none has. A stranger who adds such entries only
// confines the scenario further.
func above(dir string, names ...string) string {
	for {
		for _, name := range names {
			// .git is a folder; in a work tree or submodule it is a file.
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				return dir
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}
