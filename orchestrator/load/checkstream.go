package load

import (
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// A Stream is what a Checker needs to know of an answer that streamed.
type Stream struct {
	Events int
	Last   []byte // the data of the last event, if the Checker wants it
}

// notStreams say of an answer why it has no events of a kind.
var notStreams = map[string]string{
	wire.StreamEvents: "is no stream of events: its Content-Type is not text/event-stream, or it has a Content-Encoding",
	wire.StreamLines:  "has a Content-Encoding, and its lines cannot be told apart",
	wire.StreamChunks: "does not come in chunks: its Transfer-Encoding is not chunked",
}

// checkStream judges the events of an answer that has to stream. What they are
// together, such as a body that matches, is judged elsewhere.
func (c *Checker) checkStream(body []byte, s *Stream) *Failure {
	if s == nil {
		begins := ""
		if len(body) > 0 {
			begins = "; it begins with " + show.Quote(body)
		}
		return Failed(ErrStream, "the answer %s%s", notStreams[c.stream], begins)
	}
	if c.events != nil && !c.events.Holds(s.Events) {
		last := ""
		if c.last != nil && s.Events > 0 {
			last = "; the last one is " + show.Quote(s.Last)
		}
		return Failed(ErrStream, "%s instead of %s%s", show.Plural(s.Events, "event"), c.events, last)
	}
	switch {
	case c.last == nil:
	case s.Events == 0:
		return Failed(ErrStream, "there was no event, so none was the last one")
	case c.lastIs != nil:
		if !c.lastIs.Match(s.Last) {
			return Failed(ErrStream, "the last event is %s, which does not match %s", show.Quote(s.Last), c.lastIs)
		}
	case c.lastAt != nil:
		return checkJSON(ErrStream, "the last event", "the last event's", c.lastAt, s.Last)
	case string(s.Last) != c.last.Text:
		return Failed(ErrStream, "the last event is %s instead of %s", show.Quote(s.Last), show.Quote(c.last.Text))
	}
	return nil
}
