// Package nights simulates the nightly runs of a scenario, so that what is decided
// over nights can be tried on nights of which it is known what changed.
package nights

import (
	"fmt"
	"math"
	"math/rand/v2"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Noise is what moves durations of a build that nothing changed in, as standard
// deviations of their logarithms.
type Noise struct {
	Name   string
	Repeat float64 // of each repeat
	Night  float64 // common to a night
	Cell   float64 // of each cell in each night

	// Memory is the correlation of a night's effect, and of a cell's, with the night
	// before: AR(1).
	Memory float64

	Outliers  float64 // the share of nights on which all is disturbed
	Disturbed float64 // how much slower all is on those, as a share
}

// Noises are those that a gate and a history are held against.
func Noises() []Noise {
	return []Noise{
		{Name: "iid", Repeat: 0.02},
		{Name: "night", Repeat: 0.02, Night: 0.005},
		{Name: "night and cell", Repeat: 0.02, Night: 0.005, Cell: 0.01},
		{Name: "AR(0.4)", Repeat: 0.02, Night: 0.005, Cell: 0.01, Memory: 0.4},
		{Name: "outliers", Repeat: 0.02, Night: 0.005, Cell: 0.01, Outliers: 0.03, Disturbed: 0.10},
	}
}

// A Sequence makes one night after the other.
type Sequence struct {
	Noise
	Cells, Repeats int

	random *rand.Rand
	night  float64
	cell   []float64
}

// NewSequence is a scenario of cells with so many repeats each. The same seed makes
// the same nights.
func NewSequence(noise Noise, cells, repeats int, seed uint64) *Sequence {
	return &Sequence{Noise: noise, Cells: cells, Repeats: repeats, random: rand.New(rand.NewPCG(seed, 1)), cell: make([]float64, cells)}
}

// Next is the next night: the durations of each cell's repeats in seconds, and
// whether the night is an outlier. change is by what share a cell is slower than at
// first; nil: nothing changed.
func (s *Sequence) Next(change func(cell int) float64) (durations [][]float64, outlier bool) {
	step := func(before, deviation float64) float64 {
		return s.Memory*before + math.Sqrt(1-s.Memory*s.Memory)*deviation*s.random.NormFloat64()
	}
	s.night = step(s.night, s.Night)
	outlier = s.random.Float64() < s.Outliers
	for cell := range s.cell {
		s.cell[cell] = step(s.cell[cell], s.Cell)
		level := math.Exp(0.1*float64(cell) + s.night + s.cell[cell])
		if outlier {
			level *= 1 + s.Disturbed
		}
		if change != nil {
			level *= 1 + change(cell)
		}
		var repeats []float64
		for range s.Repeats {
			repeats = append(repeats, level*math.Exp(s.Repeat*s.random.NormFloat64()))
		}
		durations = append(durations, repeats)
	}
	return durations, outlier
}

// Records are those of a night, of one topology for each cell.
func Records(run string, durations [][]float64) []results.Record {
	spec := scenarios.LoadSpec{Requests: 100, Client: scenarios.ClientMT, Pool: 5}
	var records []results.Record
	for cell, repeats := range durations {
		topology := scenarios.Topology{Name: fmt.Sprintf("cell%02d", cell), Server: "flask"}
		for i, d := range repeats {
			records = append(records, results.Record{
				Run: run, Topology: topology, Cell: scenarios.Cell{Name: topology.Name + "/" + spec.Name(), Repeat: i + 1, Load: spec},
				Status: results.StatusOK, Duration: &d, Replies: spec.Requests,
			})
		}
	}
	return records
}
