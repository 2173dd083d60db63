package gpu

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const mb = 1 << 20

func ptr[T any](v T) *T { return &v }

// clean is evidence that nothing can be said against: a baseline of 10 MiB,
// one process of the stack with 400 MiB, 51 samples in a second.
func clean() evidence {
	ev := evidence{
		s: Sampler{}.filled(), devices: []Device{{UUID: "GPU-1"}}, sight: SightHost, told: true,
		from: 0, to: time.Second, methods: []string{MethodNVMLv2},
		idle: at(0, 10*mb, 20, 11*mb, 40, 10*mb), startup: at(60, 300*mb), warmup: at(80, 410*mb),
		after: []int64{410 * mb}, reserved: []*int64{ptr(int64(300 * mb))}, totals: []*int64{ptr(int64(16 << 30))},
	}
	for i := range int64(51) {
		ev.samples = append(ev.samples, at(i*20, 410*mb)...)
	}
	stack := entry{attributed: attributed{procStat: procStat{id: identity{7, 1}, name: "python3"}, service: "app"}, memory: ptr(int64(400 * mb))}
	l := list{before: ptr(int64(410 * mb)), after: ptr(int64(410 * mb)), entries: []entry{stack}}
	ev.idleRound = round{{before: ptr(int64(10 * mb)), after: ptr(int64(10 * mb))}}
	ev.rounds = []round{{l}, {l}}
	return ev
}

func TestJudge(t *testing.T) {
	change := func(f func(*entry)) func(*evidence) {
		return func(ev *evidence) {
			for i := range ev.rounds {
				entries := slices.Clone(ev.rounds[i][0].entries)
				f(&entries[0])
				ev.rounds[i][0].entries = entries
			}
		}
	}
	tests := []struct {
		name     string
		change   func(*evidence)
		validity string
		flags    []string
		reason   string
		peak     bool // stands
		stack    bool
	}{
		{"nothing to say against", func(*evidence) {}, Valid, nil, "", true, true},
		{"few samples", func(ev *evidence) { ev.samples, ev.to = ev.samples[:19], 360*time.Millisecond }, Flagged, []string{FlagFewSamples}, "", true, true},
		{"a gap of five intervals", func(ev *evidence) { ev.samples = slices.Delete(ev.samples, 10, 14) }, Valid, nil, "", true, true},
		{"a longer gap", func(ev *evidence) { ev.samples = slices.Delete(ev.samples, 10, 15) }, Flagged, []string{FlagGap}, "", true, true},
		{"sum over processes above the device", change(func(e *entry) { e.memory = ptr(int64(500 * mb)) }), Flagged, []string{FlagSum}, "", true, true},
		{"foreign process", change(func(e *entry) { e.service = "" }), Flagged, []string{FlagForeign, FlagUnused}, "", true, false},
		{"no figure for a process", change(func(e *entry) { e.memory = nil }), Flagged, []string{FlagNoClaim}, "", true, false},
		{"a server of MPS", func(ev *evidence) {
			ev.s.MPS = true
			for i := range ev.rounds {
				l := &ev.rounds[i][0]
				l.entries = slices.Clone(l.entries)
				l.entries[0].client, l.entries[0].memory = true, ptr(int64(370*mb))
				l.entries = append(l.entries, entry{attributed: attributed{procStat: procStat{id: identity{9, 1}, name: mpsServer}, server: true}, memory: ptr(int64(30 * mb))})
			}
		}, Valid, nil, "", true, true},
		{"MPS that nobody uses", func(ev *evidence) { ev.s.MPS = true }, Flagged, []string{FlagNotMPS}, "", true, true},
		{"unowned memory", change(func(e *entry) { e.memory = ptr(int64(200 * mb)) }), Flagged, []string{FlagUnowned}, "", true, true},
		{"within the tolerance", change(func(e *entry) { e.memory = ptr(int64(300 * mb)) }), Valid, nil, "", true, true},
		{"throttled", func(ev *evidence) {
			ev.telemetry = []reading{{{Throttle: []string{"power-cap"}}}}
		}, Flagged, []string{FlagThrottled}, "", true, true},
		{"a failed reading", func(ev *evidence) { ev.samples[5].used = nil; ev.faults = map[string]int{CodeUnknown: 1} }, Flagged, []string{FlagReadErrors}, "", true, true},
		{"no idle baseline", func(ev *evidence) { ev.idle = nil }, Flagged, []string{FlagReadErrors}, "", true, true},
		{"accounting saw more", change(func(e *entry) { e.accounting = ptr(int64(900 * mb)) }), Flagged, []string{FlagMissedPeak}, "", true, true},
		{"accounting agrees", change(func(e *entry) { e.accounting = ptr(int64(450 * mb)) }), Valid, nil, "", true, true},
		{"PIDs mean nothing", func(ev *evidence) { ev.sight, ev.why = SightNone, "namespace" }, Flagged, []string{FlagNoClaim}, "", true, false},
		{"not everybody can be seen", func(ev *evidence) { ev.sight, ev.why = SightNamespace, "namespace" }, Flagged, []string{FlagPartSight}, "", true, true},
		{"no owners were told", func(ev *evidence) { ev.told = false; change(func(e *entry) { e.service = "" })(ev) }, Flagged, []string{FlagForeign, FlagNoClaim}, "", true, false},
		{"edges could not be read", func(ev *evidence) { ev.rounds = nil }, Flagged, []string{FlagNoClaim}, "", true, false},
		{"fake driver", func(ev *evidence) { ev.devices[0].Fake = true }, Flagged, []string{FlagFakeDriver}, "", true, true},

		{"GPU lost", func(ev *evidence) { ev.faults = map[string]int{CodeGPULost: 1} }, Invalid, []string{FlagReadErrors}, "GPU_IS_LOST ×1", false, false},
		{"driver hangs", func(ev *evidence) { ev.faults = map[string]int{codeTimeout: 1} }, Invalid, []string{FlagReadErrors}, "stopped answering", false, false},
		{"nothing was read", func(ev *evidence) { ev.samples = nil }, Invalid, []string{FlagGap, FlagFewSamples}, "could not be read", false, false},
		{"method changed", func(ev *evidence) { ev.methods = []string{MethodNVMLv2, MethodNVMLv1} }, Invalid, nil, "nvml-v2, then nvml-v1", false, false},
		{"worker died", func(ev *evidence) {
			ev.died = []attributed{{procStat: procStat{id: identity{7, 1}, name: "gunicorn"}, service: "app"}}
		}, Invalid, nil, "process 7 (gunicorn) of service app", false, false},
		{"nobody of the stack is on the GPU though it is used", func(ev *evidence) {
			for i := range ev.rounds {
				ev.rounds[i][0].entries = nil
			}
		}, Invalid, []string{FlagUnowned, FlagUnused}, "rose by 400 MiB", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ev := clean()
			tt.change(&ev)
			u := ev.usage()
			if u.Validity != tt.validity || !strings.Contains(u.Reason, tt.reason) || (u.Reason == "") != (tt.reason == "") {
				t.Errorf("%s, %q; want %s, %q", u.Validity, u.Reason, tt.validity, tt.reason)
			}
			if !slices.Equal(u.Flags, tt.flags) {
				t.Errorf("flags %v, want %v", u.Flags, tt.flags)
			}
			if (u.Peak != nil) != tt.peak || (u.Stack != nil) != tt.stack {
				t.Errorf("peak %v, stack %v; want them there: %v, %v", u.Peak, u.Stack, tt.peak, tt.stack)
			}
			if u.Stack == nil && u.Reason == "" && u.ProcessReason == "" {
				t.Error("the stack's peak is missing without a reason")
			}
			for what, v := range map[string]*int64{"peak": u.Peak, "stack": u.Stack, "over baseline": u.OverBaseline} {
				if v != nil && *v == 0 {
					t.Errorf("%s is a zero", what)
				}
			}
		})
	}
}

func TestJudgeFigures(t *testing.T) {
	ev := clean()
	ev.samples[30].used = []int64{2000 * mb}
	u := ev.usage()
	for what, f := range map[string]struct{ got, want *int64 }{
		"baseline": {u.Baseline, ptr(int64(10 * mb))}, "spread": {u.BaselineSpread, ptr(int64(mb))},
		"start-up": {u.Startup, ptr(int64(300 * mb))}, "warm-up": {u.Warmup, ptr(int64(410 * mb))},
		"start": {u.Start, ptr(int64(410 * mb))}, "peak": {u.Peak, ptr(int64(2000 * mb))},
		"over baseline": {u.OverBaseline, ptr(int64(1990 * mb))}, "after": {u.After, ptr(int64(410 * mb))},
		"stack": {u.Stack, ptr(int64(400 * mb))}, "unowned": {u.Unowned, ptr(int64(0))},
		"device": {u.Devices[0].Peak, ptr(int64(2000 * mb))},
	} {
		if f.got == nil || *f.got != *f.want {
			t.Errorf("%s = %v, want %d", what, f.got, *f.want)
		}
	}
}

func TestEnergy(t *testing.T) {
	ev := clean()
	ev.telemetry = []reading{{{Energy: ptr(100.0), Power: ptr(50.0)}}, {nil}, {{Energy: ptr(180.0), Power: ptr(110.0)}}}
	a := ev.usage().Devices[0].Activity
	if a.Energy == nil || *a.Energy != 80 || *a.PowerMean != 80 || *a.PowerMax != 110 || a.UtilizationMean != nil {
		t.Errorf("activity %+v", a)
	}
	ev.to = 999 * time.Millisecond
	if a = ev.usage().Devices[0].Activity; a.Energy != nil {
		t.Error("energy of less than a second")
	}
}

func TestApply(t *testing.T) {
	u := clean().usage()
	Aftermath{Used: ptr(int64(10 * mb)), Back: true}.Apply(&u)
	if u.Validity != Valid || *u.Teardown != 10*mb {
		t.Errorf("usage %+v", u)
	}
	Aftermath{Used: ptr(int64(900 * mb)), Reason: "held"}.Apply(&u)
	if u.Validity != Invalid || u.Peak != nil || u.Processes[0].Peak != nil || !strings.Contains(u.Reason, "held") {
		t.Errorf("usage %+v", u)
	}
	var none Usage
	if (Aftermath{}).Apply(&none); none.Validity != "" || none.Reason != "" {
		t.Errorf("a usage without a GPU became %+v", none)
	}
}

func TestNil(t *testing.T) {
	var trial *Trial
	trial.Owners(nil)
	trial.Phase(PhaseWarmup)
	if err := trial.WaitClean(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	if u := trial.Cell().Stop(); u.Validity != "" || u.Peak != nil {
		t.Errorf("usage %+v", u)
	}
	if a := trial.Close(t.Context()); a.Used != nil {
		t.Errorf("aftermath %+v", a)
	}
}

func TestDirt(t *testing.T) {
	d := Device{UUID: "GPU-1"}
	idle := map[string]int64{"GPU-1": 10 * mb}
	used := func(n int64) *Memory { return &Memory{Used: n * mb} }
	holder := Holder{PID: 7, Name: "python3", Container: idA, Memory: ptr(int64(300 * mb))}
	own := holder
	own.Service = "app"
	tests := []struct {
		name string
		now  Snapshot
		idle map[string]int64
		want string // empty: clean
	}{
		{"idle", Snapshot{Device: d, Memory: used(10)}, idle, ""},
		{"within the tolerance", Snapshot{Device: d, Memory: used(138)}, idle, ""},
		{"memory stayed", Snapshot{Device: d, Memory: used(139)}, idle, "129 MiB more"},
		{"no baseline yet", Snapshot{Device: d, Memory: used(900)}, nil, ""},
		{"somebody is there", Snapshot{Device: d, Memory: used(310), Holders: []Holder{holder}}, nil, "process 7 (python3) in container a1a1a1a1a1a1 holds 300 MiB"},
		{"the stack itself", Snapshot{Device: d, Memory: used(310), Holders: []Holder{own}}, idle, ""},
		{"a server of MPS", Snapshot{Device: d, Memory: used(310), Holders: []Holder{{PID: 9, Name: mpsServer, Memory: ptr(int64(300 * mb)), Server: true}}}, idle, ""},
		{"a server of MPS and memory that stayed", Snapshot{Device: d, Memory: used(439), Holders: []Holder{{PID: 9, Name: mpsServer, Memory: ptr(int64(300 * mb)), Server: true}}}, idle, "use"},
		{"unreadable", Snapshot{Device: d, Err: &Error{Device: "GPU-1", Call: "f", Code: CodeGPULost}}, idle, "GPU_IS_LOST"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(Dirt([]Snapshot{tt.now}, tt.idle), "; ")
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("Dirt = %q, want %q", got, tt.want)
			}
		})
	}
}
