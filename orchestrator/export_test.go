package orchestrator

// ErrStuck is for the external tests.
var ErrStuck = errStuck
