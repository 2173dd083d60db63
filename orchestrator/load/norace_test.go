//go:build !race

package load

// raceDetector is off.
const raceDetector = false
