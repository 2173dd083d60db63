package orchestrator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// notMeasured says why a load does not measure what was asked for: no answer was as
// expected, there were more errors than the limit allows, or not everything was
// sent. It is nil if the load does. Without a limit no error is allowed, but the
// load goes on, so that all are counted.
func notMeasured(sent load.Result, limit *scenarios.ErrorLimit) error {
	switch {
	case sent.Search != nil && sent.Search.Rate == 0:
		lowest, _ := sent.Search.Bound()
		return fmt.Errorf("the search found no rate within %v: at %g/s, the lowest that it tried, the 99th percentile was %v, with %s",
			sent.Search.P99, lowest.Rate, lowest.P99.Round(time.Microsecond), show.Plural(lowest.Errors, "error"))
	case sent.Replies == 0:
		return errors.New(noReply(sent))
	case limit != nil && sent.Errors > limit.Allowed(sent.Requests):
		return errors.New(tooManyErrors(sent, *limit))
	case sent.Replies+sent.Errors < sent.Requests:
		return fmt.Errorf("the load stopped after %d of %d requests, the first of which all failed: %s", sent.Replies+sent.Errors, sent.Requests, kinds(sent))
	case limit == nil && sent.Errors > 0:
		return fmt.Errorf("%d of %s had errors, and without request.max_errors none may: %s", sent.Errors, show.Plural(sent.Requests, "request"), kinds(sent))
	}
	return nil
}

// noReply says that no request was answered as expected.
func noReply(sent load.Result) string {
	first := ""
	if sent.Errors < sent.Requests {
		first = fmt.Sprintf("the first %d of ", sent.Errors)
	}
	return fmt.Sprintf("none of %s%s was answered as expected: %s", first, show.Plural(sent.Requests, "request"), kinds(sent))
}

// tooManyErrors says that the limit was exceeded, and whether the rest was sent.
func tooManyErrors(sent load.Result, limit scenarios.ErrorLimit) string {
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
func kinds(sent load.Result) string {
	var list []string
	for kind, n := range sent.ErrorKinds {
		list = append(list, fmt.Sprintf("%s ×%d (%s)", kind, n, sent.FirstErrors[kind]))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
