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

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// A Checker says whether an answer is as expected. It is not safe for concurrent
// use.
type Checker struct {
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
func NewChecker(expect scenarios.Expect, digest func(int) (first *atomic.Uint64, payload string)) (*Checker, error) {
	c := &Checker{status: expect.Status, same: expect.BodyDigest == scenarios.DigestSame, digest: digest}
	var err error
	if expect.Match != "" {
		if c.match, err = regexp.Compile(expect.Match); err != nil {
			return nil, fmt.Errorf("expect match: %w", err)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(expect.JSON)) {
		check := jsonCheck{path: path, parts: strings.Split(path, ".")}
		want := expect.JSON[path]
		if pattern, is := scenarios.Pattern(want); is {
			check.match, err = regexp.Compile(pattern)
		} else {
			check.want, err = decodeJSON([]byte(want))
		}
		if err != nil {
			return nil, fmt.Errorf("expect json %s: %w", path, err)
		}
		c.json = append(c.json, check)
	}
	return c, nil
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

// Check judges the answer to a distinct request: nil means as expected. It judges
// the same answer the same way however often it is called.
func (c *Checker) Check(request, status int, body []byte) *Failure {
	if status != c.status && (c.status != 0 || status/100 != 2) {
		want := "2xx"
		if c.status != 0 {
			want = strconv.Itoa(c.status)
		}
		return Failed(ErrStatus, "status %d instead of %s%s", status, want, Begins(status, body))
	}
	if c.match != nil && !c.match.Match(body) {
		return Failed(ErrMismatch, "the body does not match %s; it begins with %s", c.match, show.Quote(body))
	}
	if len(c.json) > 0 {
		if failure := c.checkJSON(body); failure != nil {
			return failure
		}
	}
	if c.same {
		return c.checkDigest(request, body)
	}
	return nil
}

func (c *Checker) checkJSON(body []byte) *Failure {
	value, err := decodeJSON(body)
	if err != nil {
		return Failed(ErrMismatch, "the body is not JSON (%v); it begins with %s", err, show.Quote(body))
	}
	for _, check := range c.json {
		got, err := at(value, check.parts)
		if err != nil {
			return Failed(ErrMismatch, "json %s: %v; the body begins with %s", check.path, err, show.Quote(body))
		}
		switch {
		case check.match != nil && !check.match.MatchString(textOf(got)):
			return Failed(ErrMismatch, "json %s is %q, which does not match %s", check.path, textOf(got), check.match)
		case check.match == nil && !equalJSON(got, check.want):
			return Failed(ErrMismatch, "json %s is %s instead of %s", check.path, jsonOf(got), jsonOf(check.want))
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
