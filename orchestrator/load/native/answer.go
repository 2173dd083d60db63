//go:build linux

package native

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"syscall"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/show"
)

// Limits of an answer. Beyond them it is a failure of kind protocol, so that no
// server can hold a client for ever or fill its memory.
const (
	answerBuffer = 16 << 10 // also the longest line of a head
	maxHead      = 64 << 10
	maxInterim   = 16 // 1xx answers before the final one
)

// An answerReader reads HTTP/1.x answers from one connection, one after the other. It
// discards their bodies unless keep is set, but for the beginning of an error's.
type answerReader struct {
	read    func([]byte) (int, error) // returns at least one byte, or an error
	maxBody int64
	keep    bool
	body    []byte // what was kept of the last answer's body; valid until the next one
	room    int    // how much more of it is kept
	stream  streamMeter

	buf  []byte
	r, w int   // buf[r:w] was read and not yet used
	got  int64 // bytes read since the answer began
	head int   // bytes of the answer's heads so far, the interim ones included
}

func newAnswerReader(read func([]byte) (int, error), maxBody int64) *answerReader {
	return &answerReader{read: read, maxBody: maxBody, stream: streamMeter{arrived: new(instant)}, buf: make([]byte, answerBuffer)}
}

// begin prepares for the next answer: on the same connection, or, with fresh, on a
// new one.
func (a *answerReader) begin(fresh bool) {
	a.got, a.head, a.body, a.stream.on = int64(a.w-a.r), 0, a.body[:0], false
	if fresh {
		a.r, a.w, a.got = 0, 0, 0
	}
}

// next reads one whole answer to a request of the given method. Its error is a
// *load.Failure, or that of the connection's read.
func (a *answerReader) next(method string) (head, error) {
	for interim := 0; ; interim++ {
		h, err := a.readHead()
		if err != nil {
			return head{}, err
		}
		if h.status == http.StatusSwitchingProtocols {
			return head{}, load.Failed(load.ErrProtocol, "the server switched protocols, which nobody asked for")
		}
		if h.status < 200 {
			if interim == maxInterim {
				return head{}, load.Failed(load.ErrProtocol, "more than %d interim answers", maxInterim)
			}
			continue
		}
		return h, a.readBody(method, &h)
	}
}

// A head is what matters of a status line and the headers.
type head struct {
	status    int
	keepAlive bool // the connection can carry another request
	chunked   bool
	length    int64 // of the body; -1: the head does not say

	eventStream bool // the body is text/event-stream
	encoded     bool // the body has a Content-Encoding
}

func (a *answerReader) readHead() (head, error) {
	line, err := a.line()
	if err != nil {
		return head{}, err
	}
	h, err := parseStatusLine(line)
	if err != nil {
		return head{}, err
	}
	for {
		line, err := a.line()
		if err != nil {
			return head{}, err
		}
		if len(line) == 0 {
			return h, nil
		}
		if err := h.header(line); err != nil {
			return head{}, err
		}
	}
}

// parseStatusLine reads "HTTP/1.1 200 OK"; the reason may be missing.
func parseStatusLine(line []byte) (head, error) {
	const version = "HTTP/1."
	if len(line) < len(version)+5 || string(line[:len(version)]) != version ||
		(line[7] != '0' && line[7] != '1') || line[8] != ' ' || (len(line) > 12 && line[12] != ' ') {
		return head{}, load.Failed(load.ErrProtocol, "not an HTTP/1.x answer: it begins with %s", show.Quote(line))
	}
	status, ok := parseNumber(line[9:12], 10)
	if !ok {
		return head{}, load.Failed(load.ErrProtocol, "status %q is not a number", line[9:12])
	}
	if status < 100 {
		return head{}, load.Failed(load.ErrProtocol, "status %03d does not exist", status)
	}
	return head{status: int(status), keepAlive: line[7] == '1', length: -1}, nil
}

// header reads one header line.
func (h *head) header(line []byte) error {
	colon := bytes.IndexByte(line, ':')
	// A space before the colon hides a header from some parsers and not from others
	// (RFC 9112, section 5.1).
	if colon <= 0 || line[0] == ' ' || line[0] == '\t' || line[colon-1] == ' ' || line[colon-1] == '\t' {
		return load.Failed(load.ErrProtocol, "header line %s has no name", show.Quote(line))
	}
	name, value := line[:colon], line[colon+1:]
	switch {
	case is(name, "content-length"):
		// A list of equal lengths is one length (RFC 9110, section 8.6).
		for one := range bytes.SplitSeq(value, []byte{','}) {
			length, ok := parseNumber(bytes.TrimSpace(one), 10)
			if !ok || h.length >= 0 && h.length != length {
				return load.Failed(load.ErrProtocol, "Content-Length %s is wrong or contradicts another one", show.Quote(value))
			}
			h.length = length
		}
	case is(name, "transfer-encoding"):
		if h.chunked || !is(bytes.TrimSpace(value), "chunked") {
			return load.Failed(load.ErrProtocol, "Transfer-Encoding %s is not understood; only chunked is", show.Quote(value))
		}
		h.chunked = true
	case len(name) == len("content-type") && isEventStream(value) && is(name, "content-type"): // most values differ sooner than the names
		h.eventStream = true
	case is(name, "content-encoding"):
		h.encoded = !is(bytes.TrimSpace(value), "identity")
	case is(name, "connection"):
		for option := range bytes.SplitSeq(value, []byte{','}) {
			switch option = bytes.TrimSpace(option); {
			case is(option, "close"):
				h.keepAlive = false
			case is(option, "keep-alive"):
				h.keepAlive = true
			}
		}
	}
	return nil
}

// is reports whether b is a word, in capital or small letters.
func is(b []byte, word string) bool { return len(b) == len(word) && bytes.EqualFold(b, []byte(word)) }

// isEventStream reports whether a Content-Type is text/event-stream, whatever its
// parameters.
func isEventStream(value []byte) bool {
	const want = "text/event-stream"
	value = bytes.TrimSpace(value)
	if len(value) < len(want) || !is(value[:len(want)], want) {
		return false
	}
	rest := bytes.TrimSpace(value[len(want):])
	return len(rest) == 0 || rest[0] == ';'
}

// readBody reads what follows the head, by the rules of RFC 9112, section 6.3.
func (a *answerReader) readBody(method string, h *head) error {
	var err error
	bare := method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified
	if !bare {
		a.stream.begin(h)
	}
	switch a.room = 0; {
	case a.keep:
		a.room = math.MaxInt
	case h.status >= http.StatusBadRequest, a.stream.wanted != "" && !a.stream.on:
		a.room = load.QuotedBody
	}
	switch {
	case bare:
	case h.chunked:
		if h.length >= 0 {
			h.keepAlive = false // chunked wins, and the connection cannot be trusted
		}
		err = a.chunks()
	case h.length >= 0:
		if h.length > a.maxBody {
			return load.Failed(load.ErrProtocol, "a body of %d bytes is larger than allowed (%d)", h.length, a.maxBody)
		}
		err = a.content(h.length)
	default:
		h.keepAlive = false
		err = a.untilClose()
	}
	if err == nil && a.stream.on {
		a.stream.count(a.stream.splitter.End())
	}
	if err == nil && a.w > a.r {
		return load.Failed(load.ErrTruncated, "%d bytes came after the answer's end: its length is wrong", a.w-a.r)
	}
	return err
}

// chunks reads a chunked body and its trailers.
func (a *answerReader) chunks() error {
	var total int64
	for {
		line, err := a.line()
		if err != nil {
			return err
		}
		digits, _, _ := bytes.Cut(line, []byte{';'}) // without extensions
		size, ok := parseNumber(bytes.TrimRight(digits, " \t"), 16)
		if !ok {
			return load.Failed(load.ErrProtocol, "chunk size %s is wrong", show.Quote(line))
		}
		if size == 0 {
			break
		}
		if size > a.maxBody-total {
			return load.Failed(load.ErrProtocol, "a body of more than %d bytes is larger than allowed", a.maxBody)
		}
		total += size
		if err := a.content(size); err != nil {
			return err
		}
		line, err = a.line()
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return load.Failed(load.ErrProtocol, "a chunk is longer than its size says")
		}
		if a.stream.on {
			a.stream.count(a.stream.splitter.Chunk())
		}
		a.head = 0 // lines with sizes do not count as a head; trailers do
	}
	for {
		line, err := a.line()
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

// untilClose reads a body that ends with the connection.
func (a *answerReader) untilClose() error {
	total := int64(a.w - a.r)
	a.use(a.buf[a.r:a.w])
	a.r, a.w = 0, 0
	for {
		n, err := a.read(a.buf)
		a.use(a.buf[:n])
		a.got += int64(n)
		if total += int64(n); total > a.maxBody {
			return load.Failed(load.ErrProtocol, "a body of more than %d bytes is larger than allowed", a.maxBody)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return a.broken(err)
		}
	}
}

// content reads n bytes of a body.
func (a *answerReader) content(n int64) error {
	for {
		have := min(n, int64(a.w-a.r))
		a.use(a.buf[a.r : a.r+int(have)])
		a.r += int(have)
		if n -= have; n == 0 {
			return nil
		}
		if err := a.fill(); err != nil {
			return err
		}
	}
}

// use keeps a part of a body, or discards it.
func (a *answerReader) use(part []byte) {
	if a.stream.on {
		a.stream.write(part)
	}
	part = part[:min(len(part), a.room)]
	a.body = append(a.body, part...)
	a.room -= len(part)
}

// line reads a line and returns it without its end. It is valid until the next call.
func (a *answerReader) line() ([]byte, error) {
	searched := 0
	for {
		if i := bytes.IndexByte(a.buf[a.r+searched:a.w], '\n'); i >= 0 {
			line := a.buf[a.r : a.r+searched+i]
			a.r += searched + i + 1
			if a.head += searched + i + 1; a.head > maxHead {
				return nil, load.Failed(load.ErrProtocol, "the answer's head is longer than %d bytes", maxHead)
			}
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		searched = a.w - a.r
		if searched == len(a.buf) {
			return nil, load.Failed(load.ErrProtocol, "a line of the answer's head is longer than %d bytes", len(a.buf))
		}
		if err := a.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads more into the buffer. There has to be room once it is compacted.
func (a *answerReader) fill() error {
	if a.r > 0 {
		a.w = copy(a.buf, a.buf[a.r:a.w])
		a.r = 0
	}
	n, err := a.read(a.buf[a.w:])
	a.w += n
	a.got += int64(n)
	if n > 0 {
		return nil // an error will come again at the next read
	}
	return a.broken(err)
}

// broken is what the end of a connection means at this place of an answer.
func (a *answerReader) broken(err error) error {
	how := ""
	switch failure := (*load.Failure)(nil); {
	case errors.As(err, &failure): // from the conn, which knows better
		return err
	case errors.Is(err, io.EOF):
		how = "the server closed the connection"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		how = "the connection was reset"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errInterrupted):
		return err
	default:
		how = err.Error()
	}
	if a.got == 0 {
		return load.Failed(load.ErrReset, "%s before an answer began", how)
	}
	if a.stream.on {
		return load.Failed(load.ErrTruncated, "%s after %d bytes of an answer, within its stream after %s", how, a.got, show.Plural(a.stream.events, "event"))
	}
	return load.Failed(load.ErrTruncated, "%s after %d bytes of an answer", how, a.got)
}

// parseNumber reads a number that has digits only.
func parseNumber(digits []byte, base int) (int64, bool) {
	n, err := strconv.ParseUint(string(digits), base, 63)
	return int64(n), err == nil
}
