package results

import (
	"cmp"
	"slices"
)

// holm corrects the p-values of tests that are looked at together, in their
// order: where none of what they test is there, one or more of the corrected
// values are α or below with a probability of α at most, whatever the tests
// have to do with each other. The cells of a run share a machine and often a
// stack, so they are not independent; that is why it is this method and not one
// that bounds the share of false alarms under independence. See Holm, A Simple
// Sequentially Rejective Multiple Test Procedure (1979).
func holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	corrected := make([]float64, len(p))
	largest := 0.0
	for rank, at := range order {
		largest = max(largest, min(1, float64(len(p)-rank)*p[at]))
		corrected[at] = largest
	}
	return corrected
}
