package orchestrator

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
)

// written keeps what a ledger writes.
type written struct {
	Recorder
	records []results.Record
	spent   map[string]time.Duration
	planned []int
	devices [][]gpu.Device
}

func (w *written) Put(_ context.Context, r results.Record) error {
	w.records = append(w.records, r)
	return nil
}

func (w *written) Spent(_ context.Context, _, phase string, d time.Duration) error {
	w.spent[phase] += d
	return nil
}

func (w *written) Planned(_ context.Context, _ string, cells int) error {
	w.planned = append(w.planned, cells)
	return nil
}

func newLedger() (*ledger, *written) {
	w := &written{spent: map[string]time.Duration{}}
	return &ledger{
		recorder: w, scrub: func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") },
		added: func(results.Record) {}, dog: &watchdog{}, began: time.Now(), planned: 8,
	}, w
}

func (w *written) Devices(_ context.Context, _ string, devices []gpu.Device) error {
	w.devices = append(w.devices, devices)
	return nil
}

// TestLedgerSaw: devices are recorded when a stack got others than are known, all of them
// in one order.
func TestLedgerSaw(t *testing.T) {
	l, w := newLedger()
	a, b, c := gpu.Device{UUID: "a", Node: "n1"}, gpu.Device{UUID: "b", Node: "n1", Index: 1}, gpu.Device{UUID: "c", Node: "n2"}
	l.devices = []gpu.Device{c}
	for _, devices := range [][]gpu.Device{{c}, nil, {b}, {b, c}, {a}} {
		if err := l.saw(t.Context(), devices); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.devices) != 2 || !slices.Equal(w.devices[0], []gpu.Device{b, c}) || !slices.Equal(w.devices[1], []gpu.Device{a, b, c}) {
		t.Errorf("recorded %+v", w.devices)
	}
}

// TestLedgerScrubs: nothing leaves a run with a value that may be a secret, and
// the record that the run goes on with stays as it is.
func TestLedgerScrubs(t *testing.T) {
	l, w := newLedger()
	var said []string
	l.told = func(e Event) { said = append(said, e.Message) }
	rec := results.Record{
		Status: results.StatusFailed, Reason: "hunter2", LogTail: "hunter2", FirstErrors: map[string]string{"status": "hunter2"},
		Stack: &results.Stack{GPU: "hunter2", Proxy: "hunter2", Services: []results.Service{{Processes: []string{"app --key=hunter2"}}}},
	}
	if err := l.put(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	l.notify(Event{Kind: EventNote, Message: "the key is hunter2"})
	got := w.records[0]
	texts := slices.Concat(said, []string{got.Reason, got.LogTail, got.FirstErrors["status"], got.Stack.GPU, got.Stack.Proxy, got.Stack.Services[0].Processes[0]})
	for _, text := range texts {
		if strings.Contains(text, "hunter2") || !strings.Contains(text, "***") {
			t.Errorf("%q", text)
		}
	}
	if len(said) != 2 || rec.Stack.Services[0].Processes[0] != "app --key=hunter2" || rec.FirstErrors["status"] != "hunter2" {
		t.Errorf("told %q; the run's own record is %+v", said, rec)
	}
}

// TestLedgerClosed: a run that was left behind writes and tells nothing more.
func TestLedgerClosed(t *testing.T) {
	l, w := newLedger()
	l.told = func(e Event) { t.Errorf("told: %+v", e) }
	l.closed.Store(true)
	l.notify(Event{Kind: EventNote})
	if err := l.put(t.Context(), results.Record{}); err == nil || len(w.records) > 0 {
		t.Errorf("%v, %d records", err, len(w.records))
	}
}

// TestLedgerLanes: what two lanes do at the same time counts for no more than the time
// that passes.
func TestLedgerLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newLedger()
		var one, other phases
		one.took(results.PhaseMeasure, 2*time.Second)
		other.took(results.PhaseStart, time.Second)
		other.took(results.PhaseMeasure, time.Second)
		time.Sleep(2 * time.Second)
		if err := l.account(t.Context(), 8, &one, &other); err != nil {
			t.Error(err)
		}
		want := map[string]time.Duration{results.PhaseStart: time.Second / 2, results.PhaseMeasure: 3 * time.Second / 2, results.PhaseOther: 0}
		if !maps.Equal(w.spent, want) {
			t.Errorf("%v, want %v", w.spent, want)
		}
	})
}

// TestLedgerAccounts: the phases and the rest are the whole time, and the number
// of planned cells is written when it changes.
func TestLedgerAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newLedger()
		phase := func(name string, d time.Duration) {
			defer l.spend(name)()
			time.Sleep(d)
		}
		phase(results.PhaseStart, time.Second)
		phase(results.PhaseStop, 2*time.Second)
		if err := l.flush(t.Context(), 8); err != nil || len(w.planned) > 0 {
			t.Errorf("%v, planned %v", err, w.planned)
		}
		phase(results.PhaseStart, 3*time.Second)
		time.Sleep(time.Minute)
		if err := l.account(t.Context(), 6); err != nil || !slices.Equal(w.planned, []int{6}) {
			t.Errorf("%v, planned %v", err, w.planned)
		}
		want := map[string]time.Duration{results.PhaseStart: 4 * time.Second, results.PhaseStop: 2 * time.Second, results.PhaseOther: time.Minute}
		if !maps.Equal(w.spent, want) {
			t.Errorf("%v, want %v", w.spent, want)
		}
	})
}
