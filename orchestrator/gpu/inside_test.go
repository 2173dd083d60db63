package gpu

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// said is a stream of what nvidia-smi says, a piece at a time.
func said(t *testing.T) (io.ReadCloser, func(string)) {
	t.Helper()
	read, write := io.Pipe()
	return read, func(text string) {
		t.Helper()
		if _, err := io.WriteString(write, text); err != nil {
			t.Fatal(err)
		}
	}
}

func smiLine(uuid string, used int) string { return fmt.Sprintf("%s, %d, 16384, 37\n", uuid, used) }

// TestInside: the figures are those of all devices of the stack together, of the
// measurement alone, with the doubts that they have.
func TestInside(t *testing.T) {
	output, say := said(t)
	// That the first sample is whole, the first device's next line tells.
	go say(smiLine("GPU-a", 900) + smiLine("GPU-b", 100) + smiLine("GPU-a", 300))
	in, err := SampleInside(t.Context(), output)
	if err != nil {
		t.Fatal(err)
	}
	say(smiLine("GPU-b", 100))
	say(smiLine("GPU-a", 1500) + smiLine("GPU-b", 200))
	say(smiLine("GPU-a", 4000)) // cut short
	u := in.Stop("no agent may run")
	is := func(what string, got *int64, want int64) {
		t.Helper()
		if got == nil || *got != want<<20 {
			t.Errorf("%s: %v, want %d MiB", what, got, want)
		}
	}
	is("start", u.Start, 1000)
	is("peak", u.Peak, 1700)
	is("total", u.Total, 2*16384)
	if u.Validity != Flagged || u.Method != methodInside || u.Samples != 3 || u.Interval != insideInterval || u.ProcessReason != "no agent may run" {
		t.Errorf("%+v", u)
	}
	for _, unknown := range []*int64{u.Baseline, u.Stack, u.OverBaseline, u.ForeignPeak} {
		if unknown != nil {
			t.Errorf("known though nobody could look: %d", *unknown)
		}
	}
	if !slices.Contains(u.Flags, FlagNoClaim) || !slices.Contains(u.Flags, FlagFewSamples) || slices.Contains(u.Flags, FlagReadErrors) || slices.Contains(u.Flags, FlagUnused) {
		t.Errorf("flags %v", u.Flags)
	}
	if len(u.Devices) != 2 || u.Devices[1].UUID != "GPU-b" || *u.Devices[1].Peak != 200<<20 || u.Devices[0].Activity.UtilizationMean == nil || *u.Devices[0].Activity.UtilizationMean != 37 {
		t.Errorf("devices %+v", u.Devices)
	}
}

// TestInsideBlind: a stack that cannot look says why.
func TestInsideBlind(t *testing.T) {
	for what, test := range map[string]struct{ text, want string }{
		"no program":     {"", "executable file not found"},
		"MIG":            {"GPU-a, [N/A], [N/A], [N/A]\n", `it says "[N/A]" of the memory in use`},
		"another answer": {"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "it says \"NVIDIA-SMI has failed"},
	} {
		t.Run(what, func(t *testing.T) {
			read, write := io.Pipe()
			go func() {
				_, _ = io.WriteString(write, test.text)
				write.CloseWithError(errors.New(`exec: "nvidia-smi": executable file not found in $PATH`))
			}()
			if _, err := SampleInside(t.Context(), read); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q in it", err, test.want)
			}
			if _, err := io.WriteString(write, "more"); err == nil {
				t.Error("its output is still open")
			}
		})
	}
}
