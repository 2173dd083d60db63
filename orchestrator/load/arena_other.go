//go:build unix && !linux

package load

import "os"

// mapPopulate is not known here: the first use of each page is a fault.
const mapPopulate = 0

// anonymousFile is a temporary file that lost its name at once.
func anonymousFile() (*os.File, error) {
	file, err := os.CreateTemp("", "stackmeter-load-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
