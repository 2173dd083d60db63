//go:build linux && race

package native

// raceDetector is on: a process needs several times the memory.
const raceDetector = true
