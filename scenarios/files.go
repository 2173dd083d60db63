package scenarios

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"stackmeter/scenarios/show"
)

// maxFiles bounds the payload files of one scenario: all of them are held in
// memory while the load runs.
const maxFiles = 10_000

// A folder is the scenario file's. It is the one place where a scenario's
// paths become absolute and where the file system is looked at.
type folder struct {
	dir     string   // absolute
	allowed []string // absolute; the operator's word for where else paths may lead
}

func (f folder) path(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(f.dir, name)
}

// files is the regular files that a glob (as path/filepath has them) matches,
// sorted. Those of a glob that is not trusted are in one of the folder's roots.
func (f folder) files(glob string, trusted bool) ([]string, error) {
	if !trusted && f.root(f.path(glob)) == "" {
		return nil, fmt.Errorf("%s %w", show.Quote(glob), errOutside)
	}
	meta := strings.ContainsAny(glob, `*?[\`)
	pattern := glob
	if !filepath.IsAbs(glob) {
		// What is special in the folder's own name is not part of the glob.
		dir := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(f.dir)
		pattern = filepath.Join(dir, glob)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s is not a pattern: a [ is not closed or a \\ ends it", show.Quote(glob))
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

// exists checks that a folder does.
func (f folder) exists(what, name string) error {
	if info, err := os.Stat(f.path(name)); err != nil {
		return fmt.Errorf("%s %s: %w", what, show.Quote(name), reason(err))
	} else if !info.IsDir() {
		return fmt.Errorf("%s %s is not a folder", what, show.Quote(name))
	}
	return nil
}

// buildContext checks that a folder and the Dockerfile in it exist. One that
// is not trusted is in the scenario's checkout.
func (f folder) buildContext(context, dockerfile string, trusted bool) error {
	if err := f.exists("build context", context); err != nil {
		return err
	}
	if !trusted {
		if err := f.checkedOut(context); err != nil {
			return err
		}
	}
	// The builder sees the context and nothing else, and so does this.
	root, err := os.OpenRoot(f.path(context))
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

// reason is an error of the file system without the path, which the message
// has already as the scenario wrote it.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
