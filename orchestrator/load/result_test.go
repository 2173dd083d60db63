package load

import (
	"testing"
	"time"
)

// A client is late if more than one request in a hundred was late by more than a
// millisecond and more than a twentieth of the service time.
func TestClientLate(t *testing.T) {
	const ms = time.Millisecond
	mostly := func(late int, by time.Duration) *Latency {
		l := new(Latency)
		for i := range 1000 {
			l.Record(50 * time.Microsecond)
			if i < late {
				l.Record(by)
			}
		}
		return l
	}
	tests := []struct {
		name     string
		lateness *Latency
		service  *Latency
		want     bool
	}{
		{"a closed loop", nil, nil, false},
		{"in time", mostly(0, 0), latencyOf(5 * ms), false},
		{"one in a hundred", mostly(10, 20*ms), latencyOf(5 * ms), false},
		{"three in a hundred", mostly(30, 20*ms), latencyOf(5 * ms), true},
		{"by less than a twentieth", mostly(30, 20*ms), latencyOf(500 * ms), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := Result{Replies: 1, Lateness: test.lateness, Service: test.service}
			if got := r.clientLate(); got != test.want {
				t.Errorf("flagged: %t, want %t", got, test.want)
			}
		})
	}
}
