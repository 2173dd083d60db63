package python

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"stackmeter/orchestrator/load"
)

// A tally is the program's last message.
type tally struct {
	Gun       int64             `json:"gun"`    // when the program heard it; nanoseconds, monotonic
	CPU       time.Duration     `json:"cpu"`    // of all its processes since then
	Waited    time.Duration     `json:"waited"` // for a core, see load.Result
	Messages  map[string]string `json:"messages"`
	Body      []byte            `json:"body"`      // the beginning of the answer that the message on a status is about
	Figures   []byte            `json:"figures"`   // figureSize bytes for each request
	Failure   string            `json:"failure"`   // why the batch ended early; empty if it did not
	Broken    load.LocalError   `json:"broken"`    // why it did, if that is this machine's fault; otherwise 0
	Disturbed string            `json:"disturbed"` // what somebody else did to the program; empty: nothing
}

// A figure is what the program says about one request, little-endian.
type figure struct {
	Begin, FirstByte, End int64 // nanoseconds, monotonic
	Connect               time.Duration
	Sent, Read            int64
	Client                int32
	Asked                 int32 // the request whose verdict holds for this answer; -1: none
	Retries               int32
	Outcome               int32
}

// figureSize is the length of a figure, in bytes.
const figureSize = 64

// outcomeKinds are the kinds of errors by the number of an outcome: 0 is a
// request that was not finished, 1 a reply.
var outcomeKinds = []string{"", "", load.ErrConnect, load.ErrTimeout, load.ErrReset, load.ErrTruncated, load.ErrProtocol, load.ErrStatus}

// why says why the batch ended early, or measures nothing; nil if neither.
func (t *tally) why() error {
	switch {
	case t.Disturbed != "":
		return fmt.Errorf("the Python client %w: %s", load.ErrDisturbed, t.Disturbed)
	case t.Broken != 0:
		return t.Broken
	case t.Failure != "":
		return errors.New(t.Failure)
	}
	return nil
}

// fill puts the tally into an account of the requests that were asked for. It fails if
// the tally contradicts itself. An answer whose verdict is missing counts as not
// finished: the batch ended before it was judged.
func (t *tally) fill(a *load.Account, verdicts map[int32]*load.Failure, offsets []time.Duration) error {
	a.Gun, a.CPU, a.Waited = t.Gun, t.CPU, t.Waited
	if len(t.Figures) != a.Requests*figureSize {
		return fmt.Errorf("the Python client's tally has %d bytes of figures for %d requests, not %d", len(t.Figures), a.Requests, a.Requests*figureSize)
	}
	figures := make([]figure, a.Requests)
	if _, err := binary.Decode(t.Figures, binary.LittleEndian, figures); err != nil {
		return fmt.Errorf("the Python client's tally: %w", err)
	}
	for i, f := range figures {
		if f.Outcome < 0 || int(f.Outcome) >= len(outcomeKinds) || f.Asked < -1 || int(f.Asked) >= a.Requests || f.Client < 0 {
			return fmt.Errorf("the Python client's tally: request %d has the outcome %d, the verdict of request %d and the client %d, which cannot be", i, f.Outcome, f.Asked, f.Client)
		}
		if f.Outcome == 0 {
			continue // it was not finished
		}
		o := load.Outcome{
			Client: int(f.Client), Begin: f.Begin, FirstByte: f.FirstByte, End: f.End, Connect: f.Connect,
			Sent: f.Sent, Read: f.Read, Kind: outcomeKinds[f.Outcome], Message: t.Messages[outcomeKinds[f.Outcome]],
		}
		if o.Kind == load.ErrStatus {
			o.Message += load.Begins(http.StatusBadRequest, t.Body)
		}
		if f.Asked >= 0 {
			failure, judged := verdicts[f.Asked]
			if !judged {
				continue
			}
			if failure != nil {
				o.Kind, o.Message = failure.Kind, failure.Message
			}
		}
		if offsets != nil {
			o.Intended = t.Gun + int64(offsets[i])
		}
		a.Retries += int(f.Retries)
		a.Outcomes = append(a.Outcomes, o)
	}
	return nil
}
