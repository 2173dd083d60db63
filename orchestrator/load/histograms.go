package load

import (
	"errors"
	"fmt"
)

// Histograms are all that a batch's replies are measured by.
type Histograms struct {
	Latency   Latency // what counts: from the intended moment
	Service   Latency // open loop: from the sending
	Lateness  Latency // open loop: from the intended moment to the sending
	Connect   Latency // of every new connection
	FirstByte Latency // from the sending to the answer's first byte
	Pickup    Latency // from the arrival of an answer's last byte to its reading, where the kernel says
}

// each lists them in an order that both ends of a pipe share.
func (h *Histograms) each() []*Latency {
	return []*Latency{&h.Latency, &h.Service, &h.Lateness, &h.Connect, &h.FirstByte, &h.Pickup}
}

// Prepare takes the memory, so that no reply waits for it.
func (h *Histograms) Prepare(open bool) {
	for _, l := range h.each() {
		if open || l != &h.Service && l != &h.Lateness {
			l.hist = newHistogram()
		}
	}
}

// Merge adds all that others hold.
func (h *Histograms) Merge(from *Histograms) {
	for i, l := range h.each() {
		l.Merge(from.each()[i])
	}
}

// Marshal gives each of them in its binary form.
func (h *Histograms) Marshal() ([][]byte, error) {
	var all [][]byte
	for _, l := range h.each() {
		b, err := l.MarshalBinary()
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// Unmarshal replaces what h holds by what Marshal gave.
func (h *Histograms) Unmarshal(all [][]byte) error {
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

// nonEmpty is nil for a histogram that nothing was recorded in.
func nonEmpty(l *Latency) *Latency {
	if l.Count() == 0 {
		return nil
	}
	return l
}
