// Package stream tells the events of an answer apart while its bytes come in,
// however they are cut on their way.
//
// What an event is, a scenario says (wire.StreamEvents and so on). Server-sent
// events are read as a browser does, by section 9.2.6 of
// https://html.spec.whatwg.org/multipage/server-sent-events.html: an event ends with
// its blank line, comments and events without data do not count, and what the end of
// the stream cuts off is dropped.
package stream

import (
	"bytes"

	"stackmeter/scenarios/wire"
)

// A Splitter reads one body after the other. Call Begin first.
type Splitter struct {
	Keep bool // what events hold

	kind   string
	last   []byte // the data of the last event, if kept
	data   []byte // of the event under way, if kept
	filled bool   // that has any data; of a line: it is not blank
	cr     bool   // the last byte was a carriage return, which a line feed may follow

	mark  int   // how much of a byte order mark has come; -1: it is over
	field place // in the line under way
	name  int   // how many bytes of dataField have come
}

// A place is one in a line of an event stream.
type place int

const (
	inName  place = iota // of the field, which may still be dataField
	afterIt              // after the colon, where one space counts for nothing
	inValue              // of dataField
	inOther              // in what says nothing: a comment, or another field
)

const (
	dataField     = "data"
	byteOrderMark = "\uFEFF"
)

// Begin prepares for a body with events of a kind.
func (s *Splitter) Begin(kind string) {
	*s = Splitter{Keep: s.Keep, kind: kind, last: s.last[:0], data: s.data[:0]}
}

// Last is what the last event holds, if that is kept: its data without the last line
// feed, the line without its end, or the chunk. It is valid until the next event.
func (s *Splitter) Last() []byte { return s.last }

// Write takes the next bytes of a body and returns how many events end in them.
func (s *Splitter) Write(part []byte) (events int) {
	switch s.kind {
	case wire.StreamEvents:
		return s.serverSent(part)
	case wire.StreamLines:
		return s.lines(part)
	}
	s.keep(part)
	return 0
}

// Chunk ends a chunk of the body and returns how many events end with it.
func (s *Splitter) Chunk() (events int) {
	if s.kind != wire.StreamChunks {
		return 0
	}
	return s.event()
}

// End ends the body and returns how many events end with it: a last line without a
// line feed is one.
func (s *Splitter) End() (events int) {
	if s.kind != wire.StreamLines || !s.filled {
		return 0
	}
	return s.line()
}

func (s *Splitter) keep(part []byte) {
	if s.Keep {
		s.data = append(s.data, part...)
	}
}

// event ends an event.
func (s *Splitter) event() int {
	s.last, s.data, s.filled = s.data, s.last[:0], false
	return 1
}

func (s *Splitter) lines(part []byte) (events int) {
	for len(part) > 0 {
		line, rest, ended := bytes.Cut(part, []byte{'\n'})
		part = rest
		s.filled = s.filled || len(bytes.TrimSpace(line)) > 0
		s.keep(line)
		switch {
		case !ended:
		case s.filled:
			events += s.line()
		default:
			s.data = s.data[:0]
		}
	}
	return events
}

// line ends a line that is not blank.
func (s *Splitter) line() int {
	s.data = bytes.TrimSuffix(s.data, []byte{'\r'})
	return s.event()
}

func (s *Splitter) serverSent(part []byte) (events int) {
	for i := 0; i < len(part); i++ {
		c := part[i]
		if s.mark >= 0 && s.marked(c) {
			continue
		}
		after := s.cr
		s.cr = c == '\r'
		switch {
		case c == '\n' && after: // they are one line end
		case c == '\n' || c == '\r':
			events += s.endLine()
		case s.field == inName:
			s.inField(c)
		case s.field == inOther:
		default:
			if s.field == afterIt && c == ' ' {
				s.field = inValue
				continue
			}
			s.field = inValue
			end := bytes.IndexAny(part[i:], "\r\n")
			if end < 0 {
				end = len(part) - i
			}
			s.keep(part[i : i+end])
			i += end - 1
		}
	}
	return events
}

// marked takes a byte of the body's beginning, and reports whether it belongs to a
// byte order mark.
func (s *Splitter) marked(c byte) bool {
	if c == byteOrderMark[s.mark] {
		if s.mark++; s.mark == len(byteOrderMark) {
			s.mark = -1
		}
		return true
	}
	if s.mark > 0 {
		s.field = inOther // the line begins with half a mark
	}
	s.mark = -1
	return false
}

// inField takes a byte of a line's beginning.
func (s *Splitter) inField(c byte) {
	switch {
	case s.name < len(dataField) && c == dataField[s.name]:
		s.name++
	case s.name == len(dataField) && c == ':':
		s.field = afterIt
	default:
		s.field = inOther
	}
}

// endLine ends a line, and with a blank one an event, if that has data.
func (s *Splitter) endLine() (events int) {
	switch {
	case s.field == inName && s.name == 0:
		if s.filled {
			s.data = bytes.TrimSuffix(s.data, []byte{'\n'})
			events = s.event()
		}
	case s.field == afterIt, s.field == inValue, s.field == inName && s.name == len(dataField):
		s.filled = true
		s.keep([]byte{'\n'})
	}
	s.field, s.name = inName, 0
	return events
}
