//go:build unix && !linux

package load

import "os"

// mapPopulate is not known here: the first use of each page is a fault.
const mapPopulate = 0

// memoryFile is a temporary file here too: its pages are the page cache's.
func memoryFile() (*os.File, error) { return diskFile() }

// diskFolders are where a large arena may be.
func diskFolders() []string { return []string{os.TempDir()} }

// inMemory is not known here.
func inMemory(string) bool { return false }
