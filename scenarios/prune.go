package scenarios

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// LargerThan reports whether the topology is the other one with more workers,
// threads or concurrency, and less of none: it cannot be expected to need less
// memory. It is a partial order. Neither of w1/t4 and w2/t1 is larger than the
// other, and neither of two topologies that differ in anything else is: of more replicas
// each has less to do, and a limit of its own.
func (t Topology) LargerThan(other Topology) bool {
	return t.Workers >= other.Workers && t.Threads >= other.Threads && t.Concurrency >= other.Concurrency &&
		t.Workers+t.Threads+t.Concurrency > other.Workers+other.Threads+other.Concurrency &&
		t.sameFamily(other)
}

// SameApp reports whether two topologies serve the same app in ways that stackmeter
// knows, or in the same way: what the app answers does not depend on which of them
// serves it.
func (t Topology) SameApp(other Topology) bool {
	return t.sameFamily(other) || t.known() && other.known() && t.Image == other.Image && maps.Equal(t.Env, other.Env) && t.Same(other.Options)
}

// SameCallable reports whether two topologies serve the same callable of the same
// app, each by a server that stackmeter knows or by a command that names it: what it
// says of a path does not depend on which of them asks it.
func (t Topology) SameCallable(other Topology, wsgi string) bool {
	names := func(t Topology) bool {
		return wsgi != "" && slices.ContainsFunc(t.Command, func(arg string) bool { return strings.Contains(arg, wsgi) })
	}
	return t.SameApp(other) || (t.known() || names(t)) && (other.known() || names(other)) &&
		t.Image == other.Image && maps.Equal(t.Env, other.Env) && t.Same(other.Options)
}

// known reports whether stackmeter writes the command of the topology's server.
func (t Topology) known() bool {
	return t.Server != ServerCommand && t.Server != ServerServices && t.Server != ServerExisting
}

// sameFamily reports whether two topologies differ at most in their workers,
// threads and concurrency, and in what follows from those.
func (t Topology) sameFamily(other Topology) bool {
	return reflect.DeepEqual(t.rest(), other.rest()) && t.sameCommand(other, t.Command, other.Command) &&
		t.sameTexts(other, t.Env, other.Env) && t.sameTexts(other, t.ServerOptions, other.ServerOptions) &&
		slices.EqualFunc(t.Services, other.Services, func(a, b Service) bool {
			return a.Name == b.Name && a.Image == b.Image && a.Port == b.Port && t.sameTexts(other, a.Env, b.Env) && a.Same(b.Options) &&
				t.sameCommand(other, a.Command, b.Command)
		})
}

// rest is what does not follow from the topology's workers, threads and concurrency.
func (t Topology) rest() Topology {
	t.Name, t.Workers, t.Threads, t.Concurrency, t.Axes = "", 0, 0, 0, maps.Clone(t.Axes)
	delete(t.Axes, placeConcurrency)
	t.Command, t.Env, t.ServerOptions, t.Services = nil, nil, nil, nil
	return t
}

// sameTexts is sameCommand for values by name.
func (t Topology) sameTexts(other Topology, mine, others map[string]string) bool {
	names := slices.Sorted(maps.Keys(mine))
	if !slices.Equal(names, slices.Sorted(maps.Keys(others))) {
		return false
	}
	var a, b []string
	for _, name := range names {
		a, b = append(a, mine[name]), append(b, others[name])
	}
	return t.sameCommand(other, a, b)
}

// numbers finds the numbers in an argument. The words around a filled
// placeholder are the scenario's own.
var numbers = regexp.MustCompile(`[0-9]+`)

// sameCommand reports whether a command of this topology and one of the other are
// the same except for numbers that are their workers or threads.
func (t Topology) sameCommand(other Topology, mine, others []string) bool {
	return slices.EqualFunc(mine, others, func(a, b string) bool {
		if a == b {
			return true
		}
		if !slices.Equal(numbers.Split(a, -1), numbers.Split(b, -1)) {
			return false
		}
		return slices.EqualFunc(numbers.FindAllString(a, -1), numbers.FindAllString(b, -1), func(m, n string) bool {
			return m == n || m == strconv.Itoa(t.Workers) && n == strconv.Itoa(other.Workers) ||
				m == strconv.Itoa(t.Threads) && n == strconv.Itoa(other.Threads) ||
				m == strconv.Itoa(t.Concurrency) && n == strconv.Itoa(other.Concurrency)
		})
	})
}

// AtLeast reports whether a load asks at least as much of a stack as another one:
// as many clients of the same kind or more, for as long or longer. A single
// client is less than any other closed loop.
func (l LoadSpec) AtLeast(other LoadSpec) bool {
	alone := other.Client == ClientSingle && l.Client != ClientOpen
	return (l.Client == other.Client || alone) && l.KeepAlive == other.KeepAlive && l.P99 == other.P99 &&
		(l.Arrivals == other.Arrivals || math.IsInf(l.offered(), 1)) &&
		l.Pool >= other.Pool && l.Requests >= other.Requests && l.offered() >= other.offered()
}

// offered is the rate of an open loop: infinite if each request is sent as soon
// as possible. A search finds its rate itself, and LoadSpec.P99 bounds that.
func (l LoadSpec) offered() float64 {
	if l.Client == ClientOpen && l.Rate == 0 && !l.Searches() {
		return math.Inf(1)
	}
	return l.Rate
}

// smallestFirst sorts the trials of each family of topologies by size, within the
// places that the family has. So pruning can leave out whatever a smaller one
// shows not to fit. The order by workers, threads and concurrency agrees with LargerThan.
func smallestFirst(trials []Trial) {
	alike := map[string][]int{} // places by what a family has in common, for thousands of families
	for i, trial := range trials {
		text, _ := json.Marshal(trial.Topology.rest()) // of texts and numbers, so there is no error
		alike[string(text)] = append(alike[string(text)], i)
	}
	for _, left := range alike {
		for len(left) > 0 {
			var places, others []int
			var family []Trial
			for _, i := range left {
				if trials[i].Topology.sameFamily(trials[left[0]].Topology) {
					places, family = append(places, i), append(family, trials[i])
				} else {
					others = append(others, i)
				}
			}
			slices.SortStableFunc(family, func(a, b Trial) int {
				return cmp.Or(cmp.Compare(a.Topology.Workers, b.Topology.Workers), cmp.Compare(a.Topology.Threads, b.Topology.Threads),
					cmp.Compare(a.Topology.Concurrency, b.Topology.Concurrency))
			})
			for n, place := range places {
				trials[place] = family[n]
			}
			left = others
		}
	}
}
