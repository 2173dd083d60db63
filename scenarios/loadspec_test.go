package scenarios

import (
	"math"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios/wire"
)

func TestLoadCheck(t *testing.T) {
	open := LoadSpec{Requests: 100, Client: ClientOpen, Pool: OpenPool, Rate: 20, Arrivals: ArrivalsConstant}
	with := func(l LoadSpec, change func(*LoadSpec)) LoadSpec { change(&l); return l }
	for name, test := range map[string]struct {
		load LoadSpec
		want string // of the error; empty: none
	}{
		"open":                {open, ""},
		"max":                 {with(open, func(l *LoadSpec) { l.Rate, l.Arrivals = 0, "" }), ""},
		"search":              {with(open, func(l *LoadSpec) { l.Rate, l.P99 = 0, time.Second }), ""},
		"single":              {LoadSpec{Requests: 1, Client: ClientSingle, Pool: 1}, ""},
		"most":                {LoadSpec{Requests: wire.MaxRequests, Client: ClientMT, Pool: maxPool}, ""},
		"no request":          {with(open, func(l *LoadSpec) { l.Requests = 0 }), "requests must be from 1 to 10000000, not 0"},
		"too many requests":   {with(open, func(l *LoadSpec) { l.Requests = wire.MaxRequests + 1 }), "not 10000001"},
		"no pool":             {LoadSpec{Requests: 1, Client: ClientMP}, "pool must be from 1 to 4096, not 0"},
		"too large a pool":    {LoadSpec{Requests: 1, Client: ClientMT, Pool: maxPool + 1}, "not 4097"},
		"a negative pool":     {with(open, func(l *LoadSpec) { l.Pool = -5 }), "not -5"},
		"two of single":       {LoadSpec{Requests: 1, Client: ClientSingle, Pool: 2}, "pool of 1, not 2"},
		"negative single":     {LoadSpec{Requests: 1, Client: ClientSingle, Pool: -5}, "pool of 1, not -5"},
		"too slow":            {with(open, func(l *LoadSpec) { l.Rate = 1e-10 }), "rate must be from 0.001/s"},
		"too fast":            {with(open, func(l *LoadSpec) { l.Rate = 100_001 }), "to 100000/s"},
		"no number":           {with(open, func(l *LoadSpec) { l.Rate = math.NaN() }), "not NaN/s"},
		"a search in no time": {with(open, func(l *LoadSpec) { l.Rate, l.P99 = 0, -time.Second }), "not -1s"},
		"300 years":           {with(open, func(l *LoadSpec) { l.Requests, l.Rate = wire.MaxRequests, LowestRate }), "take 115741 days, and may take 365"},
		"another client":      {LoadSpec{Requests: 1, Client: "xx", Pool: 1}, `"xx" is not known`},
	} {
		err := test.load.check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
