package results

import (
	"cmp"
	"strings"

	"stackmeter/scenarios"
)

// A run's records come in the order in which they were measured, which is
// shuffled. Whatever is printed is ordered by what was asked instead, so that
// two runs of a scenario print the same rows in the same places.

// compareTopologies orders by the server's name, commands and services of the
// scenario's own last, then without nginx before with nginx, then by workers, threads and name.
func compareTopologies(a, b scenarios.Topology) int {
	return cmp.Or(
		compareBools(own(a), own(b)),
		cmp.Compare(a.Server, b.Server),
		compareBools(a.Nginx, b.Nginx),
		cmp.Compare(a.Workers, b.Workers),
		cmp.Compare(a.Threads, b.Threads),
		compareNatural(a.Name, b.Name),
	)
}

// compareModes orders by client mode (single, mp, mt, open), then by rate (the
// one that is searched and max last) and pool, with kept-alive connections last.
func compareModes(a, b scenarios.LoadSpec) int {
	return cmp.Or(
		compareBools(a.KeepAlive, b.KeepAlive),
		cmp.Compare(clientRank(a.Client), clientRank(b.Client)),
		cmp.Compare(a.Client, b.Client),
		compareBools(a.Searches(), b.Searches()),
		compareBools(a.Rate == 0, b.Rate == 0),
		cmp.Compare(a.Rate, b.Rate),
		cmp.Compare(a.P99, b.P99),
		cmp.Compare(a.Arrivals, b.Arrivals),
		cmp.Compare(a.Pool, b.Pool),
	)
}

// own reports whether a topology's server is the scenario's own.
func own(t scenarios.Topology) bool {
	return t.Server == scenarios.ServerCommand || t.Server == scenarios.ServerServices
}

func clientRank(client string) int {
	switch client {
	case scenarios.ClientSingle:
		return 0
	case scenarios.ClientMP:
		return 1
	case scenarios.ClientMT:
		return 2
	}
	return 3 // open
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// compareNatural compares names with the numbers in them as numbers, so that
// waitress-t8 comes before waitress-t16.
func compareNatural(a, b string) int {
	restA, restB := a, b
	for restA != "" && restB != "" {
		var numA, numB string
		numA, tailA := leadingDigits(restA)
		numB, tailB := leadingDigits(restB)
		if numA != "" && numB != "" {
			trimA, trimB := strings.TrimLeft(numA, "0"), strings.TrimLeft(numB, "0")
			if c := cmp.Or(cmp.Compare(len(trimA), len(trimB)), cmp.Compare(trimA, trimB)); c != 0 {
				return c
			}
			restA, restB = tailA, tailB
			continue
		}
		if c := cmp.Compare(restA[0], restB[0]); c != 0 {
			return c
		}
		restA, restB = restA[1:], restB[1:]
	}
	return cmp.Or(cmp.Compare(len(restA), len(restB)), cmp.Compare(a, b))
}

func leadingDigits(s string) (digits, rest string) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	return s[:end], s[end:]
}
