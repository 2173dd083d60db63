//go:build linux

package native

import (
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/stream"
	"stackmeter/scenarios/wire"
)

// A streamMeter measures the answers of one client that stream. An event comes when
// its last byte arrived, by the clock that latency ends by. Of events that the client
// reads at once only the last one's arrival is known, and it is taken for that of all:
// the gaps between them are 0, and the one before them is longer by as much.
type streamMeter struct {
	wanted   string   // what an event of each answer is, a wire.Request's Stream; empty: answers need not stream
	arrived  *instant // when all bytes read so far had arrived
	splitter stream.Splitter

	on          bool // the answer under way streams
	events      int
	first, last instant         // events
	read        instant         // when the last bytes that were read arrived
	gaps        []time.Duration // between events
	earlier     load.Latency    // gaps that there was no room for
}

// mostGaps is how many gaps of an answer are kept one by one until it is known whether
// it is a reply. Those of a longer stream are kept as a histogram.
const mostGaps = 4096

// begin prepares for an answer with a head.
func (m *streamMeter) begin(h *head) {
	kind := m.wanted
	switch kind {
	case wire.StreamChunks:
		m.on = h.chunked
	case wire.StreamLines:
		m.on = !h.encoded
	default:
		kind, m.on = wire.StreamEvents, h.eventStream && !h.encoded
	}
	if m.on {
		m.splitter.Begin(kind)
		m.events, m.gaps, m.earlier = 0, m.gaps[:0], load.Latency{}
	}
}

// write takes the next bytes of the body.
func (m *streamMeter) write(part []byte) {
	m.read = *m.arrived
	m.count(m.splitter.Write(part))
}

// count counts events that ended with what was read last.
func (m *streamMeter) count(n int) {
	for range n {
		if m.events == 0 {
			m.first = m.read
		} else {
			if len(m.gaps) == mostGaps {
				m.flush(&m.earlier)
			}
			m.gaps = append(m.gaps, m.read.sub(m.last))
		}
		m.last = m.read
		m.events++
	}
}

// flush moves the gaps that are kept one by one.
func (m *streamMeter) flush(to *load.Latency) {
	for _, gap := range m.gaps {
		to.Record(gap)
	}
	m.gaps = m.gaps[:0]
}

// held is what the answer held; nil: it did not stream.
func (m *streamMeter) held() *load.Stream {
	if !m.on {
		return nil
	}
	return &load.Stream{Events: m.events, Last: m.splitter.Last()}
}

// record adds the events of a reply whose request was sent at a moment.
func (m *streamMeter) record(begin instant, t *tally) {
	if !m.on {
		return
	}
	t.Streams++
	t.Events += m.events
	if m.events > 0 {
		t.Histograms.FirstEvent.Record(m.first.sub(begin))
	}
	t.Histograms.EventGap.Merge(&m.earlier)
	m.flush(&t.Histograms.EventGap)
}
