package load

import (
	"os"
	"slices"
)

// diskFile is a file on disk that lost its name at once.
func diskFile() (*os.File, error) {
	folders := diskFolders()
	folder := folders[max(slices.IndexFunc(folders, func(f string) bool { return !inMemory(f) }), 0)]
	file, err := os.CreateTemp(folder, "stackmeter-load-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
