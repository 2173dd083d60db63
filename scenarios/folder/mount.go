package folder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"stackmeter/scenarios/show"
)

// errUnmounted is the error of what a container is not given.
var errUnmounted = errors.New("is in no folder that --allow-path names")

// Mount returns where a file or folder that a container is to see really is: its
// absolute path, without links. What is not trusted must be in an allowed folder, by its
// name and wherever it is: all of it is read by the app, so that neither the scenario's
// own folder nor its checkout will do, and no checkout of git either.
func (f Folder) Mount(name string, trusted bool) (string, error) {
	path := f.Path(name)
	if !trusted && !f.allows(path) {
		return "", fmt.Errorf("%s %w", show.Quote(name), errUnmounted)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", show.Quote(name), reason(err))
	}
	switch info, err := os.Stat(real); {
	case err != nil:
		return "", fmt.Errorf("%s: %w", show.Quote(name), reason(err))
	case !info.IsDir() && !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is neither a folder nor a file", show.Quote(name))
	case trusted:
		return real, nil
	case !f.allows(real):
		return "", fmt.Errorf("%s %w: it is, or is behind, a symbolic link", show.Quote(name), errUnmounted)
	}
	if _, err := os.Lstat(filepath.Join(real, ".git")); err == nil || gits(string(filepath.Separator), real) {
		return "", fmt.Errorf("%s belongs to git, whose files may hold a token", show.Quote(name))
	}
	return real, nil
}

// allows reports whether an absolute path is in an allowed folder, by its name there
// or by where that folder really is.
func (f Folder) allows(path string) bool {
	return slices.ContainsFunc(f.allowed, func(dir string) bool {
		real, err := filepath.EvalSymlinks(dir)
		return within(dir, path) || err == nil && within(real, path)
	})
}

// MountHint says what to do about a mount that was refused.
func MountHint(err error) string {
	if errors.Is(err, errUnmounted) {
		return "start with --allow-path FOLDER to let containers read what is in it: a scenario can come from a stranger"
	}
	return "a folder or file with what the app reads, such as a model's weights"
}
