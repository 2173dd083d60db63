package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"stackmeter/scenarios/units"
	"stackmeter/scenarios/wire"
	"stackmeter/scenarios/yamlfile"
)

// A LoadSpec is what the client does in one cell.
type LoadSpec struct {
	Requests  int    `json:"requests"`
	Of        int    `json:"of,omitempty"` // the load is a short one, for a load of so many requests; 0: it is whole
	Client    string `json:"client"`
	Pool      int    `json:"pool"` // 1 for single; for open the most requests under way at once
	KeepAlive bool   `json:"keepalive"`

	// Of an open loop. With neither a rate nor a search, which is rate: max,
	// each request is sent as soon as fewer than Pool are under way.
	Rate     float64       `json:"rate,omitempty"`       // requests per second
	Arrivals string        `json:"arrivals,omitempty"`   // empty where there is no rate and no search
	P99      time.Duration `json:"search_p99,omitempty"` // search for the highest rate whose 99th percentile stays within this
}

// Searches reports whether the rate is searched for and not given.
func (l LoadSpec) Searches() bool { return l.P99 > 0 }

// Mode is the client mode as it appears in names and tables, with its pool or
// its rate: single, mp5, mt10, open20, open20-poisson, openmax, open-p99-500ms.
func (l LoadSpec) Mode() string {
	switch l.Client {
	case ClientSingle:
		return ClientSingle
	case ClientOpen:
		return l.openMode()
	}
	if l.Pool == 0 {
		return l.Client // figures from elsewhere need not say it
	}
	return fmt.Sprintf("%s%d", l.Client, l.Pool)
}

func (l LoadSpec) openMode() string {
	mode := ClientOpen + "max"
	switch {
	case l.Searches():
		mode = ClientOpen + "-p99-" + units.Seconds.Format(l.P99.Seconds())
	case l.Rate > 0:
		mode = ClientOpen + strconv.FormatFloat(l.Rate, 'f', -1, 64)
	}
	if l.Arrivals == ArrivalsPoisson {
		mode += "-" + ArrivalsPoisson
	}
	if l.Pool != OpenPool {
		mode += fmt.Sprintf("-pool%d", l.Pool)
	}
	return mode
}

// Short is the load cut down to fewer requests: a search tells with it which whole ones
// are worth their time.
func (l LoadSpec) Short(requests int) LoadSpec {
	l = l.Whole()
	if requests < l.Requests {
		l.Requests, l.Of = requests, l.Requests
	}
	return l
}

// Whole is the load that a short one stands for. A whole one is its own.
func (l LoadSpec) Whole() LoadSpec {
	if l.Of > 0 {
		l.Requests, l.Of = l.Of, 0
	}
	return l
}

// Name is the load's part of a cell's name: mt10/n100, mt10/n100/keepalive, and of a short
// one mt10/n20of100.
func (l LoadSpec) Name() string {
	name := fmt.Sprintf("%s/n%d", l.Mode(), l.Requests)
	if l.Of > 0 {
		name += fmt.Sprintf("of%d", l.Of)
	}
	if l.KeepAlive {
		name += "/keepalive"
	}
	return name
}

// Bounds of a load's numbers: a mistyped one is an error, not a machine that
// hangs. They hold for a scenario's matrix, the flags of load and the clients
// themselves.
const (
	maxPool    = 4096
	maxWarmup  = 100_000
	LowestRate = 0.001   // requests per second: one in a quarter of an hour
	MaxRate    = 100_000 // requests per second

	longestSchedule = 365 * 24 * 3600 // seconds of an open loop
)

// inRange is the error of a number that is not from low to high; nil if it is.
func inRange(what string, value, low, high int) error {
	if value < low || value > high {
		return fmt.Errorf("%s must be from %d to %d, not %d", what, low, high, value)
	}
	return nil
}

// check says what in a load no client can send; nil if one can send it.
func (l LoadSpec) check() error {
	if err := inRange("requests", l.Requests, 1, wire.MaxRequests); err != nil {
		return err
	}
	switch l.Client {
	case ClientSingle:
		if l.Pool < 0 || l.Pool > 1 {
			return fmt.Errorf("single has a pool of 1, not %d", l.Pool)
		}
		return nil
	case ClientMT, ClientMP:
		return inRange("pool", l.Pool, 1, maxPool)
	case ClientOpen:
		return errors.Join(inRange("pool", l.Pool, 1, maxPool), l.checkRate())
	}
	return fmt.Errorf("client %q is not known; it can be %s, %s, %s or %s", l.Client, ClientSingle, ClientMT, ClientMP, ClientOpen)
}

// checkRate checks the rate of an open loop, or how it is searched for.
func (l LoadSpec) checkRate() error {
	switch {
	case l.P99 != 0:
		return units.Seconds.InRange("the limit of a search's p99", l.P99.Seconds(), yamlfile.ShortestTime, yamlfile.LongestTime)
	case l.Rate == 0:
		return nil // as fast as the pool can
	}
	if err := units.PerSecond.InRange("rate", l.Rate, LowestRate, MaxRate); err != nil {
		return err
	}
	if seconds := float64(l.Requests) / l.Rate; seconds > longestSchedule {
		return fmt.Errorf("%d requests at %v/s take %.0f days, and may take %.0f", l.Requests, l.Rate, seconds/86400, longestSchedule/86400.)
	}
	return nil
}

// plainLoad is a LoadSpec without methods.
type plainLoad LoadSpec

type loadJSON struct {
	*plainLoad
	P99  *time.Duration `json:"search_p99,omitempty"` // hides the embedded one, and is never set
	P99S float64        `json:"search_p99_s,omitempty"`
}

// MarshalJSON implements json.Marshaler: a duration is a number of seconds.
func (l LoadSpec) MarshalJSON() ([]byte, error) {
	return json.Marshal(loadJSON{plainLoad: (*plainLoad)(&l), P99S: l.P99.Seconds()})
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *LoadSpec) UnmarshalJSON(text []byte) error {
	read := loadJSON{plainLoad: (*plainLoad)(l)}
	err := json.Unmarshal(text, &read)
	l.P99 = units.Duration(read.P99S)
	return err
}
