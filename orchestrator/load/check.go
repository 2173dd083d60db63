package load

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// A Checker says whether an answer is as expected. It is not safe for concurrent
// use.
type Checker struct {
	stream string // what the events of an answer have to be; empty: it need not stream
	events *expect.Count
	last   *expect.Event
	lastIs *regexp.Regexp // that its text has to match
	lastAt []jsonCheck

	status int // 0: any 2xx
	match  *regexp.Regexp
	json   []jsonCheck
	same   bool
	digest func(request int) (first *atomic.Uint64, payload string)
}

// A jsonCheck is what is expected at one place of a JSON body.
type jsonCheck struct {
	path  string
	parts []string
	want  any            // compared if match is nil; numbers are json.Number
	match *regexp.Regexp // that the value has to match, as text; nil: want is compared
}

// NewChecker makes the Checker of a batch. digest returns, for a distinct request,
// where the digest of its first answer is kept (0: none yet) and the name of its
// payload, if it has one.
func NewChecker(r wire.Request, digest func(int) (first *atomic.Uint64, payload string)) (*Checker, error) {
	want := r.Expect
	c := &Checker{stream: r.Stream, events: want.Events, last: want.LastEvent, status: want.Status, same: want.BodyDigest == expect.DigestSame, digest: digest}
	if c.stream == "" && want.Streams() {
		c.stream = wire.StreamEvents
	}
	var err error
	if want.Match != "" {
		if c.match, err = regexp.Compile(want.Match); err != nil {
			return nil, fmt.Errorf("expect match: %w", err)
		}
	}
	if c.json, err = jsonChecks("json", want.JSON); err != nil || c.last == nil {
		return c, err
	}
	if pattern, is := expect.Pattern(c.last.Text); is {
		if c.lastIs, err = regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("expect last_event: %w", err)
		}
	}
	c.lastAt, err = jsonChecks("last_event", c.last.JSON)
	return c, err
}

// jsonChecks are what is expected at some places.
func jsonChecks(key string, places map[string]string) (checks []jsonCheck, err error) {
	for _, path := range slices.Sorted(maps.Keys(places)) {
		check := jsonCheck{path: path, parts: strings.Split(path, ".")}
		want := places[path]
		if pattern, is := expect.Pattern(want); is {
			check.match, err = regexp.Compile(pattern)
		} else {
			check.want, err = decodeJSON([]byte(want))
		}
		if err != nil {
			return nil, fmt.Errorf("expect %s %s: %w", key, path, err)
		}
		checks = append(checks, check)
	}
	return checks, nil
}

// QuotedBody is how many bytes of a body Begins needs.
const QuotedBody = 4*show.Quoted + 1

// Begins quotes the beginning of a body that says why a server failed.
func Begins(status int, body []byte) string {
	if status < http.StatusBadRequest || len(body) == 0 {
		return ""
	}
	return "; the body begins with " + show.Quote(body)
}

// WantsBody reports whether Check needs the answer's body where its status is as
// expected.
func (c *Checker) WantsBody() bool { return c.match != nil || len(c.json) > 0 || c.same }

// Streams is what the events of an answer have to be, a wire.Request's Stream;
// empty: it need not stream.
func (c *Checker) Streams() string { return c.stream }

// WantsLastEvent reports whether Check needs what the last event of a stream holds.
func (c *Checker) WantsLastEvent() bool { return c.last != nil }

// Check judges the answer to a distinct request: nil means as expected. It judges
// the same answer the same way however often it is called. stream is nil for an
// answer that does not stream.
func (c *Checker) Check(request, status int, body []byte, stream *Stream) *Failure {
	if status != c.status && (c.status != 0 || status/100 != 2) {
		want := "2xx"
		if c.status != 0 {
			want = strconv.Itoa(c.status)
		}
		return Failed(ErrStatus, "status %d instead of %s%s", status, want, Begins(status, body))
	}
	if c.stream != "" {
		if failure := c.checkStream(body, stream); failure != nil {
			return failure
		}
	}
	if c.match != nil && !c.match.Match(body) {
		return Failed(ErrMismatch, "the body does not match %s; it begins with %s", c.match, show.Quote(body))
	}
	if len(c.json) > 0 {
		if failure := checkJSON(ErrMismatch, "the body", "json", c.json, body); failure != nil {
			return failure
		}
	}
	if c.same {
		return c.checkDigest(request, body)
	}
	return nil
}

// checkJSON judges a text, which is called the given name, and a value of it.
func checkJSON(kind, name, a string, checks []jsonCheck, text []byte) *Failure {
	value, err := decodeJSON(text)
	if err != nil {
		return Failed(kind, "%s is not JSON (%v); it begins with %s", name, err, show.Quote(text))
	}
	for _, check := range checks {
		got, err := at(value, check.parts)
		if err != nil {
			return Failed(kind, "%s %s: %v; %s begins with %s", a, check.path, err, name, show.Quote(text))
		}
		switch {
		case check.match != nil && !check.match.MatchString(textOf(got)):
			return Failed(kind, "%s %s is %q, which does not match %s", a, check.path, textOf(got), check.match)
		case check.match == nil && !equalJSON(got, check.want):
			return Failed(kind, "%s %s is %s instead of %s", a, check.path, jsonOf(got), jsonOf(check.want))
		}
	}
	return nil
}

func decodeJSON(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return value, nil
}

// at is the value at a path of keys and indices.
func at(value any, parts []string) (any, error) {
	for _, part := range parts {
		switch v := value.(type) {
		case map[string]any:
			inner, there := v[part]
			if !there {
				return nil, fmt.Errorf("there is no %q", part)
			}
			value = inner
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil, fmt.Errorf("a list of %d has no %q", len(v), part)
			}
			value = v[i]
		default:
			return nil, fmt.Errorf("there is no %q in %s", part, textOf(value))
		}
	}
	return value, nil
}

// textOf is a string as it is, and any other value as JSON.
func textOf(value any) string {
	if s, is := value.(string); is {
		return s
	}
	return jsonOf(value)
}

func jsonOf(value any) string {
	text, _ := json.Marshal(value) // it was JSON
	return string(text)
}

// equalJSON compares two values as JSON means them: numbers by their exact value,
// at any depth, and objects in any order of their keys.
func equalJSON(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, is := b.(json.Number)
		return is && decimalOf(a) == decimalOf(b)
	case []any:
		b, is := b.([]any)
		return is && slices.EqualFunc(a, b, equalJSON)
	case map[string]any:
		b, is := b.(map[string]any)
		return is && maps.EqualFunc(a, b, equalJSON)
	}
	return a == b // texts, truths and null
}

// A decimal is the exact value of a number: digits × 10^exponent. A double would take
// 9007199254740993 for 9007199254740992. The digits neither begin nor end with a 0,
// so equal numbers have equal decimals: 1.0 and 1, 1e2 and 100, 0 and -0.
type decimal struct {
	negative bool
	digits   string
	exponent int64
}

func decimalOf(number json.Number) decimal {
	const most = 1 << 62 // of an exponent; no number that anybody means has one beyond
	mantissa, power, _ := strings.Cut(strings.ToLower(string(number)), "e")
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	exponent, _ := strconv.ParseInt(power, 10, 64) // out of range, it is the nearest there is
	digits := whole + fraction
	short := strings.TrimRight(digits, "0")
	exponent = min(max(exponent, -most), most) + int64(len(digits)-len(short)-len(fraction))
	if short = strings.TrimLeft(short, "0"); short == "" {
		return decimal{}
	}
	return decimal{negative, short, exponent}
}

// checkDigest compares a body with the first one that any client of the batch got
// for the same request. Nobody knows which of two different bodies is right: the
// first is kept, and each that differs from it is an error.
func (c *Checker) checkDigest(request int, body []byte) *Failure {
	sum := sha256.Sum256(body)
	digest := binary.BigEndian.Uint64(sum[:]) | 1 // 0 means none yet
	slot, payload := c.digest(request)
	if slot.CompareAndSwap(0, digest) || slot.Load() == digest {
		return nil
	}
	which := "the same request"
	if payload != "" {
		which += " (" + payload + ")"
	}
	return Failed(ErrMismatch, "the answer to %s differs from an earlier one; it begins with %s", which, show.Quote(body))
}
