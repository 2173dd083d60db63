package gpu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// methodInside is that of figures which the stack itself saw, where nothing else on its
// machine could look.
const methodInside = "nvidia-smi"

// insideInterval is between two readings of what samples inside a stack. It is a program
// of its own, whose CPU time and memory are the stack's.
const insideInterval = 200 * time.Millisecond

// insideLimit is how long its first reading may take.
const insideLimit = 10 * time.Second

// InsideCommand is what samples the devices of a container from inside, until its output
// is closed. NVIDIA's toolkit puts it there.
func InsideCommand() []string {
	return []string{"nvidia-smi", "--query-gpu=uuid,memory.used,memory.total,utilization.gpu", "--format=csv,noheader,nounits",
		"--loop-ms=" + strconv.FormatInt(insideInterval.Milliseconds(), 10)}
}

// An Inside is a measurement by InsideCommand.
type Inside struct {
	output io.Closer
	ended  chan struct{} // nothing more is read
	first  chan struct{} // there is a reading
	began  time.Time
	from   time.Duration

	mu        sync.Mutex
	devices   []Device
	samples   []sample
	totals    []*int64
	telemetry []reading
	looked    time.Duration // when the last telemetry was read
	failed    error
}

// SampleInside begins a measurement with the output of InsideCommand, once there is a
// reading. Stop it, which closes the output; with an error that is closed.
func SampleInside(ctx context.Context, output io.ReadCloser) (*Inside, error) {
	in := &Inside{output: output, ended: make(chan struct{}), first: make(chan struct{}), began: time.Now()}
	go in.read(output)
	limit := time.NewTimer(insideLimit)
	defer limit.Stop()
	var err error
	select {
	case <-in.first:
		in.mu.Lock()
		defer in.mu.Unlock()
		in.from = time.Since(in.began)
		in.samples[len(in.samples)-1].at = in.from // it is what the measurement begins with
		return in, nil
	case <-in.ended:
		err = in.failure()
	case <-limit.C:
		err = fmt.Errorf("nvidia-smi in the stack said nothing for %v", insideLimit)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, errors.Join(err, output.Close())
}

// failure is why nothing more is read.
func (in *Inside) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return fmt.Errorf("nvidia-smi in the stack: %w", in.failed)
}

// read reads the output to its end. A sample is whole when all devices have a line, of
// which the first tells that the next one begins.
func (in *Inside) read(output io.Reader) {
	defer close(in.ended)
	lines := bufio.NewScanner(output)
	var devices []Device
	var used []int64
	var totals []*int64
	var activity reading
	keep := func() {
		if len(devices) == 0 {
			return
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.devices == nil {
			in.devices = slices.Clone(devices)
		}
		if len(devices) != len(in.devices) {
			return // it was cut short
		}
		at := time.Since(in.began)
		in.samples, in.totals = append(in.samples, sample{at, used}), totals
		if len(in.telemetry) == 0 || at-in.looked >= telemetryInterval {
			in.telemetry, in.looked = append(in.telemetry, activity), at
		}
		if len(in.samples) == 1 {
			close(in.first)
		}
	}
	count := -1 // of the devices, once that is known
	for lines.Scan() {
		device, memory, t, err := parseInside(lines.Text())
		if err != nil {
			in.mu.Lock()
			in.failed = err
			in.mu.Unlock()
			return
		}
		if len(devices) > 0 && device.UUID == devices[0].UUID && count < 0 {
			count = len(devices)
			keep()
			devices, used, totals, activity = nil, nil, nil, nil
		}
		devices, used = append(devices, device), append(used, memory.Used)
		totals, activity = append(totals, &memory.Total), append(activity, t)
		if len(devices) == count {
			keep()
			devices, used, totals, activity = nil, nil, nil, nil
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.failed = lines.Err(); in.failed == nil {
		in.failed = errors.New("it ended")
	}
}

// parseInside reads a line of InsideCommand. MIG instances have no figures there.
func parseInside(line string) (Device, Memory, *Telemetry, error) {
	fields := strings.Split(line, ",")
	if len(fields) != 4 {
		return Device{}, Memory{}, nil, fmt.Errorf("it says %q", line)
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	used, err := strconv.ParseInt(fields[1], 10, 64)
	total, unknown := strconv.ParseInt(fields[2], 10, 64)
	if err := errors.Join(err, unknown); err != nil {
		return Device{}, Memory{}, nil, fmt.Errorf("it says %q of the memory in use, and %q of all of it", fields[1], fields[2])
	}
	t := &Telemetry{}
	if share, err := strconv.ParseFloat(fields[3], 64); err == nil {
		t.Utilization = &share
	}
	return Device{UUID: fields[0]}, Memory{Method: methodInside, Used: used << 20, Total: total << 20}, t, nil
}

// Stop ends the measurement. why is why nothing else could look. What the device holds
// beside the stack, and idle, is not known: it is all counted.
func (in *Inside) Stop(why string) Usage {
	in.output.Close()
	to := time.Since(in.began)
	<-in.ended
	in.mu.Lock()
	defer in.mu.Unlock()
	ev := evidence{
		s: Sampler{Interval: insideInterval}.filled(), devices: in.devices, sight: SightNone, why: why, told: true, unbased: true,
		from: in.from, to: to, samples: window(in.samples, in.from, to), methods: []string{methodInside},
		reserved: make([]*int64, len(in.devices)), totals: in.totals, telemetry: in.telemetry,
	}
	return ev.usage()
}
