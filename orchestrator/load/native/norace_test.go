//go:build linux && !race

package native

// raceDetector is off.
const raceDetector = false
