// Package nvml reads NVIDIA's GPUs through the driver's own library, NVML. It
// is the only package with cgo: built without it, or for another system than
// Linux, Open says so and everything else goes on without a GPU.
//
// The library is opened when Open is called, not when the program starts. It
// is never asked to change anything: accounting mode and the like are read.
package nvml

// defaultLibrary is the library that the driver installs.
const defaultLibrary = "libnvidia-ml.so.1"

// Options say where to look. The zero value is the real driver.
type Options struct {
	// Library is the path of the library, or its name for the dynamic linker
	// to find; empty is defaultLibrary. A process can use only one library in
	// its life: the linker keeps the first one's functions.
	Library string

	// Proc is where the kernel shows processes; empty is /proc.
	Proc string
}
