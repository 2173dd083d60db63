package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// Unmeasured says why a load does not measure what was asked for: no answer was as
// expected, there were more errors than the limit allows, or not everything was
// sent. It is nil if the load does. Without a limit no error is allowed, but the
// load goes on, so that all are counted.
func (r Result) Unmeasured(limit *wire.ErrorLimit) error {
	switch {
	case r.Search != nil && r.Search.Rate == 0:
		lowest, _ := r.Search.Bound()
		return fmt.Errorf("the search found no rate within %v: at %g/s, the lowest that it tried, the 99th percentile was %v, with %s",
			r.Search.P99, lowest.Rate, lowest.P99.Round(time.Microsecond), show.Plural(lowest.Errors, "error"))
	case r.Replies == 0:
		return errors.New(noReply(r))
	case limit != nil && r.Errors > limit.Allowed(r.Requests):
		return errors.New(tooManyErrors(r, *limit))
	case r.Replies+r.Errors < r.Requests:
		return fmt.Errorf("the load stopped after %d of %d requests, the first of which all failed: %s", r.Replies+r.Errors, r.Requests, kinds(r))
	case limit == nil && r.Errors > 0:
		return fmt.Errorf("%d of %s had errors, and without request.max_errors none may: %s", r.Errors, show.Plural(r.Requests, "request"), kinds(r))
	}
	return nil
}

// noReply says that no request was answered as expected.
func noReply(sent Result) string {
	first := ""
	if sent.Errors < sent.Requests {
		first = fmt.Sprintf("the first %d of ", sent.Errors)
	}
	return fmt.Sprintf("none of %s%s was answered as expected: %s", first, show.Plural(sent.Requests, "request"), kinds(sent))
}

// tooManyErrors says that the limit was exceeded, and whether the rest was sent.
func tooManyErrors(sent Result, limit wire.ErrorLimit) string {
	allowed := limit.String()
	if limit.Percent > 0 {
		allowed += fmt.Sprintf(", which is %d", limit.Allowed(sent.Requests))
	}
	stopped := ""
	if finished := sent.Replies + sent.Errors; finished < sent.Requests {
		stopped = fmt.Sprintf("the load stopped after %d of %d requests: ", finished, sent.Requests)
	}
	return fmt.Sprintf("%s%s, and request.max_errors allows %s: %s", stopped, show.Plural(sent.Errors, "error"), allowed, kinds(sent))
}

// kinds lists the kinds of errors, each with its count and its first message.
func kinds(sent Result) string {
	var list []string
	for kind, n := range sent.ErrorKinds {
		list = append(list, fmt.Sprintf("%s ×%d (%s)", kind, n, sent.FirstErrors[kind]))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
