package scenarios

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A LoadSpec is what the client does in one cell.
type LoadSpec struct {
	Requests  int    `json:"requests"`
	Client    string `json:"client"`
	Pool      int    `json:"pool"` // 1 for single; for open the most requests under way at once
	KeepAlive bool   `json:"keepalive"`

	// Of an open loop. Without a rate and a search each request is sent as
	// soon as fewer than Pool are under way: rate: max.
	Rate     float64       `json:"rate,omitempty"`       // requests per second
	Arrivals string        `json:"arrivals,omitempty"`   // empty where there is no rate and no search
	P99      time.Duration `json:"search_p99,omitempty"` // search for the highest rate whose 99th percentile stays within this
}

// Searches reports whether the rate is to be found instead of being given.
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
		mode = ClientOpen + "-p99-" + durationName(l.P99)
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

// durationName is a duration without units that are 0: 2m and not 2m0s.
func durationName(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Name is the load's part of a cell's name: mt10/n100, mt10/n100/keepalive.
func (l LoadSpec) Name() string {
	name := fmt.Sprintf("%s/n%d", l.Mode(), l.Requests)
	if l.KeepAlive {
		name += "/keepalive"
	}
	return name
}
