package load

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Histograms are all distributions that a batch measures.
type Histograms struct {
	Latency   Latency // of replies, from the moment each was due
	Service   Latency // open loop: of replies, from the sending
	Lateness  Latency // open loop: from the moment a request was due to its sending
	Connect   Latency // of new connections
	FirstByte Latency // of replies, from the sending to the answer's first byte
	Pickup    Latency // from the arrival of a reply's last byte to its reading, where the kernel stamped it

	FirstEvent Latency // of replies that stream, from the sending to the end of the first event
	EventGap   Latency // of replies that stream, between the ends of two events, one after the other
}

// each lists them in the order in which they are encoded.
func (h *Histograms) each() []*Latency {
	return []*Latency{&h.Latency, &h.Service, &h.Lateness, &h.Connect, &h.FirstByte, &h.Pickup, &h.FirstEvent, &h.EventGap}
}

// Prepare allocates the memory, so that no reply waits for it.
func (h *Histograms) Prepare(open, streams bool) {
	for _, l := range h.each() {
		switch l {
		case &h.Service, &h.Lateness:
			if !open {
				continue
			}
		case &h.FirstEvent, &h.EventGap:
			if !streams {
				continue
			}
		}
		l.hist = newHistogram()
	}
}

// Merge adds all samples of others.
func (h *Histograms) Merge(from *Histograms) {
	for i, l := range h.each() {
		l.Merge(from.each()[i])
	}
}

// MarshalJSON gives a list of the binary forms, which lose nothing.
func (h *Histograms) MarshalJSON() ([]byte, error) {
	var all [][]byte
	for _, l := range h.each() {
		b, err := l.MarshalBinary()
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return json.Marshal(all)
}

// UnmarshalJSON replaces h by what MarshalJSON gave.
func (h *Histograms) UnmarshalJSON(text []byte) error {
	var all [][]byte
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	if len(all) != len(h.each()) {
		return errors.New("histograms are missing")
	}
	for i, l := range h.each() {
		if err := l.UnmarshalBinary(all[i]); err != nil {
			return fmt.Errorf("histogram %d: %w", i, err)
		}
	}
	return nil
}

// nonEmpty is nil for an empty histogram.
func nonEmpty(l *Latency) *Latency {
	if l.Count() == 0 {
		return nil
	}
	return l
}
