package load

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestAccount(t *testing.T) {
	const ms = int64(time.Millisecond)
	gun := 1000 * ms
	outcome := func(client int, begin, end int64, kind string) Outcome {
		return Outcome{Client: client, Begin: gun + begin*ms, End: gun + end*ms, Kind: kind, Message: kind + " \x1b[31m", Sent: 10, Read: 100}
	}
	tests := []struct {
		name     string
		account  Account
		replies  int
		errors   map[string]int
		duration time.Duration
		delay    time.Duration
		little   float64
		flags    []string
	}{
		{name: "nothing was finished", account: Account{Requests: 5, UsableCores: 1, CPU: time.Second}},
		{
			name: "replies of two clients",
			account: Account{Requests: 4, UsableCores: 2, Outcomes: []Outcome{
				outcome(0, 0, 10, ""), outcome(1, 2, 10, ""), outcome(1, 10, 20, ""), outcome(0, 10, 20, ""),
			}},
			replies: 4, duration: 20 * time.Millisecond, delay: 2 * time.Millisecond, little: 1,
		},
		{
			name: "errors are no latency and prolong the batch",
			account: Account{Requests: 3, UsableCores: 1, Outcomes: []Outcome{
				outcome(0, 0, 10, ""), outcome(0, 10, 30, ErrReset), outcome(0, 30, 40, ErrReset),
			}},
			replies: 1, errors: map[string]int{ErrReset: 2}, duration: 40 * time.Millisecond, little: 1,
		},
		{
			name: "a client that was busy with something else",
			account: Account{Requests: 2, UsableCores: 1, Outcomes: []Outcome{
				outcome(0, 0, 10, ""), outcome(0, 30, 40, ""),
			}},
			replies: 2, duration: 40 * time.Millisecond, little: 0.5, flags: []string{FlagLittle},
		},
		{
			name:    "only errors",
			account: Account{Requests: 1, UsableCores: 1, Outcomes: []Outcome{outcome(0, 0, 5, ErrTimeout)}},
			errors:  map[string]int{ErrTimeout: 1}, duration: 5 * time.Millisecond,
		},
		{
			name:    "a client that uses all of its core",
			account: Account{Requests: 1, UsableCores: 1, CPU: 9 * time.Millisecond, Outcomes: []Outcome{outcome(0, 0, 10, "")}},
			replies: 1, duration: 10 * time.Millisecond, little: 1, flags: []string{FlagClientBound},
		},
		{
			name:    "a client that uses one core of two",
			account: Account{Requests: 2, UsableCores: 2, CPU: 10 * time.Millisecond, Outcomes: []Outcome{outcome(0, 0, 10, ""), outcome(1, 0, 10, "")}},
			replies: 2, duration: 10 * time.Millisecond, little: 1,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.account.Gun, test.account.Hand = gun, HandNext
			r := test.account.Result()
			count := int64(len(test.account.Outcomes))
			if r.Requests != test.account.Requests || r.Replies != test.replies || r.Hand != HandNext || r.CPU != test.account.CPU ||
				r.BytesSent != 10*count || r.BytesRead != 100*count {
				t.Errorf("%+v", r)
			}
			if !maps.Equal(r.ErrorKinds, test.errors) || r.Errors != int(count)-test.replies {
				t.Errorf("%d errors, %v", r.Errors, r.ErrorKinds)
			}
			for kind, message := range r.FirstErrors {
				if message != kind+" \uFFFD[31m" {
					t.Errorf("message of %s: %q", kind, message)
				}
			}
			if r.Duration != test.duration || r.StartDelay != test.delay || !slices.Equal(r.Flags, test.flags) {
				t.Errorf("duration %v, start delay %v, flags %v", r.Duration, r.StartDelay, r.Flags)
			}
			if diff := r.Little - test.little; diff > 1e-9 || diff < -1e-9 {
				t.Errorf("Little %v, want %v", r.Little, test.little)
			}
			if (r.Latency != nil) != (test.replies > 0) || r.Latency != nil && r.Latency.Count() != int64(test.replies) {
				t.Errorf("latency %+v", r.Latency)
			}
		})
	}
}

// TestAccountOfAnOpenLoop: latency counts from the moments, service from the sending,
// and late requests are counted.
func TestAccountOfAnOpenLoop(t *testing.T) {
	const ms = int64(time.Millisecond)
	outcome := func(intended, begin, end int64) Outcome {
		return Outcome{Client: int(begin), Intended: intended * ms, Begin: begin * ms, FirstByte: (begin + 1) * ms, End: end * ms, Connect: time.Microsecond}
	}
	failed := outcome(20, 24, 25)
	failed.Kind = ErrReset
	r := Account{Requests: 5, Open: true, UsableCores: 1, Gun: 9 * ms, Outcomes: []Outcome{
		outcome(10, 10, 20), outcome(12, 15, 30), outcome(20, 20, 31), failed,
	}}.Result()
	if r.Replies != 3 || r.Errors != 1 || r.InFlight != 3 || r.Late != 2 || r.Lateness.Count() != 4 || r.Lateness.Max() != 4*time.Millisecond {
		t.Errorf("%d replies, %d errors, at most %d under way, %d late of %d", r.Replies, r.Errors, r.InFlight, r.Late, r.Lateness.Count())
	}
	if r.Latency.Max() != 18*time.Millisecond || r.Service.Max() != 15*time.Millisecond || r.FirstByte.Max() != time.Millisecond || r.Connect.Count() != 4 {
		t.Errorf("latency up to %v, service up to %v, first byte up to %v, %d connections", r.Latency.Max(), r.Service.Max(), r.FirstByte.Max(), r.Connect.Count())
	}
	if r.Little != 0 || r.StartDelay != 0 || !slices.Contains(r.Flags, FlagClientLate) {
		t.Errorf("Little %v, start delay %v, flags %v", r.Little, r.StartDelay, r.Flags)
	}
}
