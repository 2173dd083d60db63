package python

import (
	"encoding/binary"
	"fmt"
	"time"

	"stackmeter/orchestrator/load"
)

// A report is the program's last message.
type report struct {
	Gun      int64             `json:"gun"` // nanoseconds, monotonic: when the program heard it
	CPU      time.Duration     `json:"cpu"` // of all its processes since then
	Messages map[string]string `json:"messages"`
	Figures  []byte            `json:"figures"` // of each request, figureSize bytes
	Failure  string            `json:"failure"` // why the batch ended early
}

// figureSize is the length of one request's figures: begin, end, sent and
// received as 64-bit numbers, client and outcome as 32-bit ones, little-endian.
const figureSize = 40

// outcomeKinds are the kinds of errors by the number of an outcome; 0 is a
// request that was not finished and 1 a reply.
func outcomeKinds() []string {
	return []string{"", "", load.ErrConnect, load.ErrTimeout, load.ErrReset, load.ErrTruncated, load.ErrProtocol, load.ErrStatus}
}

// unfinished is the outcome of a request that has none.
const unfinished = 0

// check refuses a report that contradicts itself.
func (r *report) check(requests int) error {
	if len(r.Figures) != requests*figureSize {
		return fmt.Errorf("the Python client's report has %d bytes of figures for %d requests, not %d", len(r.Figures), requests, requests*figureSize)
	}
	known := uint32(len(outcomeKinds()))
	for i := range requests {
		if n := r.outcome(i); n >= known {
			return fmt.Errorf("the Python client's report: request %d has the unknown outcome %d", i, n)
		}
	}
	return nil
}

func (r *report) outcome(i int) uint32 {
	return binary.LittleEndian.Uint32(r.Figures[i*figureSize+36:])
}

// finished is how many requests have an outcome.
func (r *report) finished() int {
	n := 0
	for i := range len(r.Figures) / figureSize {
		if r.outcome(i) != unfinished {
			n++
		}
	}
	return n
}

// outcomes is the report in the terms of package load.
func (r *report) outcomes() []load.Outcome {
	kinds := outcomeKinds()
	var list []load.Outcome
	for i := range len(r.Figures) / figureSize {
		n := r.outcome(i)
		if n == unfinished {
			continue
		}
		figure := r.Figures[i*figureSize:]
		number := func(at int) int64 { return int64(binary.LittleEndian.Uint64(figure[8*at:])) }
		list = append(list, load.Outcome{
			Begin: number(0), End: number(1), Sent: number(2), Read: number(3),
			Client: int(binary.LittleEndian.Uint32(figure[32:])),
			Kind:   kinds[n], Message: r.Messages[kinds[n]],
		})
	}
	return list
}
