//go:build linux && cgo

package nvml

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
)

const mib = 1 << 20

// open opens the fake driver with a state.
func open(tb testing.TB, s *fakedriver.State) *Driver {
	tb.Helper()
	if library == "" {
		tb.Skip("the fake GPU driver needs a C compiler, called cc")
	}
	tb.Setenv(fakedriver.Env, s.Folder)
	if err := s.Write(); err != nil {
		tb.Fatal(err)
	}
	d, err := Open(library)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// readerOf opens the first device.
func readerOf(tb testing.TB, d *Driver) gpu.Reader {
	tb.Helper()
	r, err := d.Reader("0")
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestOpenWithoutLibrary(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "libnvidia-ml.so.1"))
	if !errors.Is(err, gpu.ErrNoDriver) || !strings.Contains(err.Error(), "install NVIDIA's driver") {
		t.Errorf("Open = %v, want ErrNoDriver with a remedy", err)
	}
}

func TestOpenFails(t *testing.T) {
	tests := []struct {
		name   string
		change func(*fakedriver.State)
		want   string
	}{
		{"no device", func(s *fakedriver.State) { s.Devices = nil }, "no device"},
		{"kernel driver not loaded", func(s *fakedriver.State) { s.Errors = []fakedriver.Error{{Function: "nvmlInit", Return: 9}} }, "not loaded"},
		{"mismatch after an update", func(s *fakedriver.State) { s.Errors = []fakedriver.Error{{Function: "nvmlInit", Return: 18}} }, "LIB_RM_VERSION_MISMATCH"},
		{"count fails", func(s *fakedriver.State) {
			s.Errors = []fakedriver.Error{{Function: "nvmlDeviceGetCount", Return: 999}}
		}, "UNKNOWN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if library == "" {
				t.Skip("the fake GPU driver needs a C compiler, called cc")
			}
			s := fakedriver.New(t, 1)
			t.Setenv(fakedriver.Env, s.Folder)
			tt.change(s)
			if err := s.Write(); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(library); !errors.Is(err, gpu.ErrNoDriver) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open = %v, want ErrNoDriver with %q", err, tt.want)
			}
		})
	}
}

func TestDevices(t *testing.T) {
	s := fakedriver.New(t, 2)
	s.Devices = append(s.Devices, fakedriver.Device{UUID: "MIG-fa4e", Name: "FAKE MIG 1g.5gb", Total: 5 << 30, Instance: true, Parent: 1})
	d := open(t, s)
	got, err := d.Devices()
	if err != nil {
		t.Fatal(err)
	}
	want := []gpu.Device{
		{Index: 0, UUID: s.Devices[0].UUID, Name: s.Devices[0].Name, Memory: 16 << 30, Driver: fakedriver.Version, Fake: true},
		{Index: 1, UUID: s.Devices[1].UUID, Name: s.Devices[1].Name, Memory: 16 << 30, Driver: fakedriver.Version, Fake: true, MIG: true},
		{Index: 0, UUID: "MIG-fa4e", Name: "FAKE MIG 1g.5gb", Memory: 5 << 30, Driver: fakedriver.Version, Fake: true, Parent: s.Devices[1].UUID},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Devices =\n%+v, want\n%+v", got, want)
	}
	for _, name := range []string{"MIG-fa4e", "1", s.Devices[0].UUID} {
		if _, err := d.Reader(name); err != nil {
			t.Errorf("Reader(%s): %v", name, err)
		}
	}
	if _, err := d.Reader("GPU-other"); err == nil || !strings.Contains(err.Error(), s.Devices[0].UUID) {
		t.Errorf("Reader(GPU-other) = %v, want an error that names the devices there are", err)
	}
}

func TestMemory(t *testing.T) {
	s := fakedriver.New(t, 1)
	s.Processes = []fakedriver.Process{{PID: 1, Bytes: 500 * mib}}
	m, err := readerOf(t, open(t, s)).Memory()
	if err != nil {
		t.Fatal(err)
	}
	reserved := int64(300 * mib)
	if want := (gpu.Memory{Method: gpu.MethodNVMLv2, Used: 504 * mib, Total: 16 << 30, Reserved: &reserved}); !reflect.DeepEqual(m, want) {
		t.Errorf("Memory = %+v, want %+v", m, want)
	}
}

func TestMemoryErrors(t *testing.T) {
	for code, ret := range map[string]int{"NOT_SUPPORTED": 3, "NO_PERMISSION": 4, "TIMEOUT": 10, "GPU_IS_LOST": 15, "INVALID_STATE": 29, "UNKNOWN": 999, "RETURN_77": 77} {
		t.Run(code, func(t *testing.T) {
			s := fakedriver.New(t, 1)
			r := readerOf(t, open(t, s))
			s.Errors = []fakedriver.Error{{Function: "nvmlDeviceGetMemoryInfo_v2", Return: ret}}
			if err := s.Write(); err != nil {
				t.Fatal(err)
			}
			var e *gpu.Error
			if _, err := r.Memory(); !errors.As(err, &e) || e.Code != code {
				t.Errorf("Memory: %v, want %s", err, code)
			}
		})
	}
}

func TestMemoryNotAvailable(t *testing.T) {
	s := fakedriver.New(t, 1)
	s.Devices[0].Total = 0
	if m, err := readerOf(t, open(t, s)).Memory(); err == nil {
		t.Errorf("Memory of a device of no size = %+v, want an error", m)
	}
}

func TestProcesses(t *testing.T) {
	bytes := func(n int64) *int64 { return &n }
	tests := []struct {
		name string
		in   []fakedriver.Process
		want []gpu.Process
	}{
		{"none", nil, []gpu.Process{}},
		{"in two lists", []fakedriver.Process{{PID: 7, Bytes: 5}, {PID: 7, Bytes: 5, Kind: "g"}},
			[]gpu.Process{{PID: 7, Memory: bytes(5)}}},
		{"three lists", []fakedriver.Process{{PID: 9, Bytes: 1, Kind: "m"}, {PID: 8, Bytes: 2, Kind: "g"}, {PID: 7, Bytes: 3}},
			[]gpu.Process{{PID: 7, Memory: bytes(3)}, {PID: 8, Memory: bytes(2)}, {PID: 9, Memory: bytes(1), MPS: true}}},
		{"not available", []fakedriver.Process{{PID: 7, Bytes: fakedriver.NotAvailable}},
			[]gpu.Process{{PID: 7}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fakedriver.New(t, 1)
			s.Processes = tt.in
			got, err := readerOf(t, open(t, s)).Processes()
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Processes = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestProcessesFail(t *testing.T) {
	const compute, graphics, mps = "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses"
	tests := []struct {
		name   string
		errors []fakedriver.Error
		want   string // code; empty: no error
	}{
		{"one list is not supported", []fakedriver.Error{{Function: mps, Return: 3}}, ""},
		{"no list is supported", []fakedriver.Error{{Function: compute, Return: 3}, {Function: graphics, Return: 3}, {Function: mps, Return: 3}}, "NOT_SUPPORTED"},
		{"one list may not be read", []fakedriver.Error{{Function: graphics, Return: 4}}, "NO_PERMISSION"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fakedriver.New(t, 1)
			s.Errors = tt.errors
			_, err := readerOf(t, open(t, s)).Processes()
			var e *gpu.Error
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.As(err, &e) || e.Code != tt.want):
				t.Errorf("Processes: %v, want %s", err, tt.want)
			}
		})
	}
}

func TestTelemetry(t *testing.T) {
	s := fakedriver.New(t, 1)
	s.Devices[0].Throttle = 1 | 4 | 64 // idle is no throttling
	got, err := readerOf(t, open(t, s)).Telemetry()
	if err != nil {
		t.Fatal(err)
	}
	f := func(v float64) *float64 { return &v }
	want := gpu.Telemetry{Utilization: f(50), Power: f(70), PowerLimit: f(250), Energy: f(1), SMClock: f(1410), MemoryClock: f(1215),
		Temperature: f(40), Throttle: []string{"power-cap", "hardware-thermal"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Telemetry = %+v, want %+v", got, want)
	}
}

func TestTelemetryUnsupported(t *testing.T) {
	s := fakedriver.New(t, 1)
	for _, f := range []string{"UtilizationRates", "PowerUsage", "EnforcedPowerLimit", "TotalEnergyConsumption", "ClockInfo", "Temperature", "CurrentClocksThrottleReasons"} {
		s.Errors = append(s.Errors, fakedriver.Error{Function: "nvmlDeviceGet" + f, Return: 3})
	}
	if got, err := readerOf(t, open(t, s)).Telemetry(); err == nil {
		t.Errorf("Telemetry = %+v, want an error", got)
	}
	s.Errors = s.Errors[1:]
	got, err := readerOf(t, open(t, s)).Telemetry()
	if err != nil || got.Utilization == nil || got.Power != nil || got.Temperature != nil {
		t.Errorf("Telemetry = %+v, %v, want the utilization alone", got, err)
	}
}

func TestAccounting(t *testing.T) {
	s := fakedriver.New(t, 1)
	w := newWorker(t, s)
	w.hold(0, 900*mib, "")
	w.hold(0, 100*mib, "")
	r := readerOf(t, open(t, s))
	if got, err := r.Accounting(w.pid()); got != nil || err != nil {
		t.Errorf("Accounting, switched off = %v, %v", got, err)
	}
	s.Accounting = true
	if err := s.Write(); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Accounting(w.pid()); err != nil || got == nil || *got != 900*mib {
		t.Errorf("Accounting = %v, %v, want 900 MiB", got, err)
	}
	if got, err := r.Accounting(1); got != nil || err != nil {
		t.Errorf("Accounting of a stranger = %v, %v", got, err)
	}
}

// TestOldDriver runs its subject in a process of its own, because a process
// can load only one library.
func TestOldDriver(t *testing.T) {
	if os.Getenv(variantEnv) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOldDriver$", "-test.v")
		cmd.Env = append(os.Environ(), variantEnv+"="+fakedriver.Old)
		out, err := cmd.CombinedOutput()
		if err != nil || !slices.Contains(strings.Split(string(out), "\n"), "PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	s := fakedriver.New(t, 1)
	s.Processes = []fakedriver.Process{{PID: 7, Bytes: 500 * mib}}
	r := readerOf(t, open(t, s))
	m, err := r.Memory()
	if err != nil || m.Method != gpu.MethodNVMLv1 || m.Reserved != nil || m.Used != 804*mib {
		t.Errorf("Memory = %+v, %v, want version 1, with what is reserved counted as used", m, err)
	}
	procs, err := r.Processes()
	if err != nil || len(procs) != 1 || procs[0].PID != 7 || *procs[0].Memory != 500*mib {
		t.Errorf("Processes = %+v, %v", procs, err)
	}
	u := measure(t, s, func(*gpu.Trial) {})
	if u.Method != gpu.MethodNVMLv1 || u.Peak == nil || *u.Peak != 804*mib || u.Reserved != nil {
		t.Errorf("usage %+v", u)
	}
}
