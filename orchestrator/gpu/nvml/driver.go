//go:build linux && cgo

package nvml

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"stackmeter/orchestrator/gpu"
)

// A Driver is NVIDIA's driver, opened. It implements gpu.Driver.
type Driver struct {
	lib       nvml.Interface
	version   string
	sight     gpu.Sight
	why       string
	functions sync.Map // by name, whether the library has it, see has
}

// Open loads the library and starts it. If there is no library, no driver or no
// device, the error wraps gpu.ErrNoDriver and says which is missing. library is its
// path, or its name for the dynamic linker to find; empty is defaultLibrary. A process
// can use only one library in its life: the linker keeps the first one's functions.
func Open(library string) (*Driver, error) {
	library = cmp.Or(library, defaultLibrary)
	lib := nvml.New(nvml.WithLibraryPath(library))
	switch ret := lib.Init(); ret {
	case nvml.SUCCESS:
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return nil, fmt.Errorf("%w: the library %s is not there; install NVIDIA's driver to use a GPU", gpu.ErrNoDriver, library)
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return nil, fmt.Errorf("%w: %s is there, but the kernel's nvidia driver is not loaded; load it with modprobe nvidia, or reboot after an update", gpu.ErrNoDriver, library)
	default:
		return nil, fmt.Errorf("%w: nvmlInit: %s; see what nvidia-smi says", gpu.ErrNoDriver, code(ret))
	}
	d := &Driver{lib: lib}
	d.version, _ = lib.SystemGetDriverVersion()
	namespace, _ := os.Readlink("/proc/self/ns/pid") // if it cannot be read, it is not the host's
	d.sight, d.why = sightOf(namespace, d.version)
	if n, ret := lib.DeviceGetCount(); ret != nvml.SUCCESS || n == 0 {
		err := fmt.Errorf("%w: driver %s is there, but it has no device", gpu.ErrNoDriver, d.version)
		if ret != nvml.SUCCESS {
			err = fmt.Errorf("%w: nvmlDeviceGetCount: %s; see what nvidia-smi says", gpu.ErrNoDriver, code(ret))
		}
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// has reports whether the library has a function, in any version. A call of one
// that is missing would end the program.
func (d *Driver) has(name string) bool {
	has, asked := d.functions.Load(name)
	if !asked {
		has = slices.ContainsFunc([]string{"", "_v2", "_v3"}, func(version string) bool {
			return d.lib.Extensions().LookupSymbol(name+version) == nil
		})
		d.functions.Store(name, has)
	}
	return has.(bool)
}

// Close ends the use of the library. Do not use its readers after that.
func (d *Driver) Close() error {
	if ret := d.lib.Shutdown(); ret != nvml.SUCCESS {
		return fmt.Errorf("nvmlShutdown: %s", code(ret))
	}
	return nil
}

// Sight implements gpu.Driver.
func (d *Driver) Sight() (gpu.Sight, string) { return d.sight, d.why }

// Devices lists the GPUs and their MIG instances. It fails if one of them does not open.
func (d *Driver) Devices() ([]gpu.Device, error) {
	readers, err := d.all()
	if err != nil {
		return nil, err
	}
	var devices []gpu.Device
	for _, r := range readers {
		devices = append(devices, r.Device())
	}
	return devices, nil
}

// Reader opens a device by UUID or index. That others do not open, as those that were
// lost, is no error.
func (d *Driver) Reader(device string) (gpu.Reader, error) {
	readers, err := d.all()
	var known []string
	for _, r := range readers {
		if r.device.UUID == device || r.device.Parent == "" && strconv.Itoa(r.device.Index) == device {
			return r, nil
		}
		known = append(known, r.device.UUID)
	}
	if err != nil { // it may be the one
		return nil, err
	}
	return nil, fmt.Errorf("there is no GPU %s; there are %s", device, strings.Join(known, ", "))
}

// all opens every device. The error is of the first that does not open.
func (d *Driver) all() (readers []*reader, first error) {
	n, ret := d.lib.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return nil, &gpu.Error{Device: "all", Call: "nvmlDeviceGetCount", Code: code(ret)}
	}
	for i := range n {
		r, err := d.open(i)
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		readers = append(append(readers, r), d.instances(r)...)
	}
	return readers, first
}

// open opens a device by its index.
func (d *Driver) open(index int) (*reader, error) {
	h, ret := d.lib.DeviceGetHandleByIndex(index)
	if ret != nvml.SUCCESS {
		return nil, &gpu.Error{Device: strconv.Itoa(index), Call: "nvmlDeviceGetHandleByIndex", Code: code(ret)}
	}
	return d.describe(index, h)
}

// describe reads the name, the size and the like of a device.
func (d *Driver) describe(index int, h nvml.Device) (*reader, error) {
	uuid, ret := h.GetUUID()
	if ret != nvml.SUCCESS {
		return nil, &gpu.Error{Device: strconv.Itoa(index), Call: "nvmlDeviceGetUUID", Code: code(ret)}
	}
	r := &reader{driver: d, handle: h, device: gpu.Device{Index: index, UUID: uuid, Driver: d.version}}
	r.device.Name, _ = h.GetName() // some devices have none
	r.device.Fake = isFake(d.version) || isFake(r.device.Name)
	if m, err := r.Memory(); err == nil {
		r.device.Memory = m.Total
	}
	return r, nil
}

// isFake reports whether a name is of the tests' fake driver.
func isFake(name string) bool { return strings.Contains(strings.ToUpper(name), "FAKE") }

// instances opens the MIG instances of a GPU that is divided, and marks the GPU as
// divided.
func (d *Driver) instances(parent *reader) []*reader {
	if !d.has("nvmlDeviceGetMigMode") || !d.has("nvmlDeviceGetMaxMigDeviceCount") || !d.has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return nil
	}
	if mode, _, ret := parent.handle.GetMigMode(); ret != nvml.SUCCESS || mode != nvml.DEVICE_MIG_ENABLE {
		return nil
	}
	parent.device.MIG = true
	n, _ := parent.handle.GetMaxMigDeviceCount() // 0 where it fails
	var readers []*reader
	for i := range n {
		h, ret := parent.handle.GetMigDeviceHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // a slot without an instance answers NOT_FOUND
		}
		if r, err := d.describe(i, h); err == nil {
			r.device.Parent = parent.device.UUID
			r.parent = parent.handle
			readers = append(readers, r)
		}
	}
	return readers
}
