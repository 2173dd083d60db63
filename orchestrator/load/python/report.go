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

// A figure is what the program says of one request, little-endian.
type figure struct {
	Begin, FirstByte, End int64 // nanoseconds, monotonic
	Connect               time.Duration
	Sent, Read            int64
	Client                int32
	Asked                 int32 // the request whose verdict holds for its answer; -1: none does
	Retries               int32
	Outcome               int32
}

// figureSize is the length of a figure, in bytes.
const figureSize = 64

// outcomeKinds are the kinds of errors by the number of an outcome; 0 is a
// request that was not finished and 1 a reply.
func outcomeKinds() []string {
	return []string{"", "", load.ErrConnect, load.ErrTimeout, load.ErrReset, load.ErrTruncated, load.ErrProtocol, load.ErrStatus}
}

// unfinished is the outcome of a request that has none.
const unfinished = 0

// decode gives the figures, unless the report contradicts itself.
func (r *report) decode(requests int) ([]figure, error) {
	if len(r.Figures) != requests*figureSize {
		return nil, fmt.Errorf("the Python client's report has %d bytes of figures for %d requests, not %d", len(r.Figures), requests, requests*figureSize)
	}
	figures := make([]figure, requests)
	if _, err := binary.Decode(r.Figures, binary.LittleEndian, figures); err != nil {
		return nil, fmt.Errorf("the Python client's report: %w", err)
	}
	known := int32(len(outcomeKinds()))
	for i, f := range figures {
		if f.Outcome < 0 || f.Outcome >= known || f.Asked < -1 || int(f.Asked) >= requests || f.Client < 0 {
			return nil, fmt.Errorf("the Python client's report: request %d has the outcome %d, the verdict of request %d and the client %d, which cannot be", i, f.Outcome, f.Asked, f.Client)
		}
	}
	return figures, nil
}

// A verdict is what an answer was found to be.
type verdict struct{ kind, message string }

// account is the report in the terms of package load. An answer without the
// verdict that it needs counts as not finished: the batch was ended before.
func (r *report) account(figures []figure, verdicts map[int32]verdict, offsets []time.Duration) load.Account {
	a := load.Account{Gun: r.Gun, CPU: r.CPU}
	kinds := outcomeKinds()
	for i, f := range figures {
		if f.Outcome == unfinished {
			continue
		}
		o := load.Outcome{
			Client: int(f.Client), Begin: f.Begin, FirstByte: f.FirstByte, End: f.End, Connect: f.Connect,
			Sent: f.Sent, Read: f.Read, Kind: kinds[f.Outcome], Message: r.Messages[kinds[f.Outcome]],
		}
		if f.Asked >= 0 {
			v, judged := verdicts[f.Asked]
			if !judged {
				continue
			}
			o.Kind, o.Message = v.kind, v.message
		}
		if offsets != nil {
			o.Intended = r.Gun + int64(offsets[i])
		}
		a.Retries += int(f.Retries)
		a.Outcomes = append(a.Outcomes, o)
	}
	return a
}
