//go:build unix && !linux

package load

import "os"

// memoryFile is a temporary file here too: its pages are the page cache's.
func memoryFile() (*os.File, error) { return diskFile() }

// diskFolders are where a large arena may be.
func diskFolders() []string { return []string{os.TempDir()} }

// inMemory is not known here.
func inMemory(string) bool { return false }
