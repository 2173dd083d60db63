package memory_test

import (
	"testing"

	"stackmeter/results"
	"stackmeter/results/memory"
	"stackmeter/results/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Bench{Open: func(*testing.T) results.Store { return &memory.Store{} }})
}
