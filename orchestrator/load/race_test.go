//go:build race

package load

// raceDetector is on: a process needs several times the memory.
const raceDetector = true
