package stacks

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"stackmeter/scenarios"
)

// Variables by which a CUDA program finds NVIDIA's Multi-Process Service and
// gets its limits: https://docs.nvidia.com/deploy/mps/.
const (
	mpsPipeVariable    = "CUDA_MPS_PIPE_DIRECTORY"
	mpsThreadsVariable = "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"
	mpsMemoryVariable  = "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"
)

// NoMPS is a pipe directory that does not exist. A stack that did not ask for
// MPS must not find the control daemon of the machine. A CUDA program that finds
// none goes on without.
const NoMPS = "/nonexistent/nvidia-mps"

// MPSPipes is the folder with the pipes of the machine's control daemon, from
// the operator's environment or NVIDIA's default.
func MPSPipes() string { return cmp.Or(os.Getenv(mpsPipeVariable), "/tmp/nvidia-mps") }

// CheckMPS returns nil when a control daemon of MPS listens in the folder, and
// otherwise an error that says what to do. It does not disturb the daemon: it
// connects with the wrong kind of socket, which the kernel itself refuses.
func CheckMPS(pipes string) error {
	control := filepath.Join(pipes, "control")
	conn, err := net.Dial("unixgram", control)
	switch {
	case err == nil:
		conn.Close()
		return nil
	case errors.Is(err, syscall.EPROTOTYPE):
		return nil // somebody listens, for another kind of connection
	case errors.Is(err, syscall.ECONNREFUSED) && mpsRuns(pipes):
		return nil // its pipe is of a kind that takes no connections
	}
	why := fmt.Sprintf("no control daemon answers at %s", control)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = fmt.Sprintf("there is no %s", control)
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Sprintf("%s may not be used by this user", control)
	}
	return fmt.Errorf("resources.gpu.mps needs the control daemon of NVIDIA's MPS, and %s; start it (nvidia-cuda-mps-control -d, as root or as the user that the stacks run as), or set %s to the folder of the one that runs", why, mpsPipeVariable)
}

// mpsRuns reports whether the process in the daemon's PID file is an MPS daemon.
func mpsRuns(pipes string) bool {
	text, err := os.ReadFile(filepath.Join(pipes, "nvidia-cuda-mps-control.pid"))
	if err != nil {
		return false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return false
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.HasPrefix(string(name), "nvidia-cuda-mps") // the kernel cuts names at 15 bytes
}

// MPSEnvironment returns the variables that make a service use MPS within its
// limits, through the pipes in a folder, or keep it from using MPS.
func (s Service) MPSEnvironment(pipes string) map[string]string {
	if len(s.GPUs) == 0 {
		return nil
	}
	if s.MPS == nil {
		return map[string]string{mpsPipeVariable: NoMPS}
	}
	env := map[string]string{mpsPipeVariable: pipes}
	if s.MPS.ActiveThreads > 0 {
		env[mpsThreadsVariable] = strconv.FormatFloat(s.MPS.ActiveThreads, 'f', -1, 64)
	}
	if s.MPS.Memory > 0 {
		// Devices are numbered as the service sees them.
		var limits []string
		for i := range s.GPUs {
			limits = append(limits, fmt.Sprintf("%d=%dM", i, s.MPS.Memory>>20))
		}
		env[mpsMemoryVariable] = strings.Join(limits, ",")
	}
	return env
}

// mpsText says for the record how MPS is used.
func mpsText(m *scenarios.MPS) string {
	text := "through MPS"
	if m.ActiveThreads > 0 {
		text += fmt.Sprintf(", %v%% of the threads for each process", m.ActiveThreads)
	}
	if m.Memory > 0 {
		text += fmt.Sprintf(", %d MiB for each process", m.Memory>>20)
	}
	return text
}
