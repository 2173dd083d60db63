package load

import (
	"slices"
	"time"
)

// A Result is what a batch did. Replies and Errors together are fewer than
// Requests if the batch was cancelled, lost a process, gave up, or had more
// errors than its request allows.
type Result struct {
	Requests int           // asked for
	Replies  int           // answers that were as expected
	Duration time.Duration // from the gun to the last reply or error
	Latency  *Latency      // of the replies, from the moment each was due; nil: there was none

	Connect   *Latency // of new connections, the TLS handshake included; nil: there was none
	FirstByte *Latency // of the replies, from the sending to the first byte of the answer; connecting is part of it
	Service   *Latency // open loop: of the replies, from the sending
	Lateness  *Latency // open loop at a rate: how long after its moment each request was sent

	// Of the replies that stream, see package stream. What failed is left out, its
	// events too.
	Streams    int      // how many there were
	Events     int      // in all of them
	FirstEvent *Latency // from the sending to the end of the first event; nil: there was none
	EventGap   *Latency // between the ends of two events of an answer, one after the other; nil: there were no two

	// Pickup is how long replies lay in the kernel: from their arrival, where
	// Latency ends, until the client read them. It counts the replies that the
	// kernel stamped. The Latency of the others ends when they were read. nil: no
	// reply was stamped.
	Pickup *Latency

	// RoundTrips are those of the network between the client and the server, right
	// before the batch. nil: they were not measured.
	RoundTrips *Latency

	Late     int // open loop at a rate: requests sent more than a millisecond after their moments
	InFlight int // open loop: the most requests at once

	Errors      int               // answers that were not as expected, and requests without an answer
	ErrorKinds  map[string]int    // by kind
	FirstErrors map[string]string // the first message of each kind
	Retries     int               // requests that needed a new connection, because the server had closed the kept one

	CPU        time.Duration // of the client's processes while the batch ran, user and system
	Waited     time.Duration // the longest that a thread of the client's processes was ready to run and had no core, in sum; 0 where the kernel does not tell
	BytesSent  int64
	BytesRead  int64
	Hand       string        // how requests were handed to the clients: HandNext, HandSplit or HandChunks
	StartDelay time.Duration // from the gun to the last client's first request

	// Little is throughput × mean latency ÷ clients. Little's law puts it at 1 for
	// a closed loop whose clocks start at the right moment: what is missing is time
	// in which a client neither sent nor waited. Pickup counts as latency here,
	// since the client still waited, though not for the server. So does the time
	// that failed requests took. A client counts from its first request to its last
	// reply or error, so neither the start nor an uneven end matters. 0: an open
	// loop, or no reply.
	Little float64

	Pauses GCPauses // of the client's processes
	Cores  []int    // that the client's processes were held to; nil: none

	Search *Search // how the rate was found; nil if it was given

	Flags []string
}

// GCPauses is how long Go's garbage collector stopped the client's processes
// while the batch ran.
type GCPauses struct {
	Total time.Duration
	Max   time.Duration // of the last 256 of each process
}

// Flags of a batch: doubts about its figures.
const (
	// FlagClientBound marks a batch whose client used nearly all the CPU that it
	// could get. It measured the client's limit, not the server's.
	FlagClientBound = "client-bound"

	// FlagClientStarved marks a batch whose client was ready to run for a tenth of the
	// time or more, while other programs had the cores. Whoever knows what those used
	// raises it.
	FlagClientStarved = "client-starved"

	// FlagLittle marks a closed loop whose figures contradict each other: its
	// Little is more than littleTolerance away from 1.
	FlagLittle = "little"

	// FlagInsecure marks a batch that did not verify the server's certificate. It
	// measured whoever answered.
	FlagInsecure = "tls-insecure"

	// FlagClientLate marks an open loop that was not open. More than one request in
	// a hundred was sent more than a millisecond, and more than a twentieth of the
	// median service time, after its moment. The client had too little CPU, or
	// InFlight reached the pool. Latency still counts from the moments.
	FlagClientLate = "client-late"
)

// Tolerances of the flags above.
const (
	littleTolerance = 0.05
	latePercentile  = 99
	lateShare       = 0.05
)

// clientBoundShare is the share of the CPU available to the client's processes
// from which a batch is flagged. Each process runs on one core at a time, so wall
// time × min(processes, cores) is available. The share is below 1 because a client
// at 80% already makes answers wait for it: in a queue with that utilisation the
// mean wait is four times the service time (M/M/1).
const clientBoundShare = 0.8

// Conclude fills in what follows from the sums over a batch's clients: the
// distributions, the counts of replies and errors, Little and the flags. active
// is the time from each client's first request to its last reply or error,
// failing the part of it that failed requests took, and cores how many cores the
// clients could use.
func (r *Result) Conclude(all *Histograms, failures Failures, active, failing time.Duration, open bool, cores int) {
	r.Replies = int(all.Latency.Count())
	r.ErrorKinds, r.FirstErrors = failures.Kinds, failures.Messages
	for _, n := range failures.Kinds {
		r.Errors += n
	}
	r.Latency, r.Connect, r.FirstByte = nonEmpty(&all.Latency), nonEmpty(&all.Connect), nonEmpty(&all.FirstByte)
	r.Service, r.Lateness, r.Pickup = nonEmpty(&all.Service), nonEmpty(&all.Lateness), nonEmpty(&all.Pickup)
	r.FirstEvent, r.EventGap = nonEmpty(&all.FirstEvent), nonEmpty(&all.EventGap)
	if r.Latency != nil && active > 0 && !open {
		r.Little = (all.Latency.sum + all.Pickup.sum + float64(failing)) / float64(active)
	}
	if r.Replies == 0 {
		return // there is no figure to doubt
	}
	if available := r.Duration.Seconds() * float64(cores); available > 0 && r.CPU.Seconds() >= clientBoundShare*available {
		r.Flag(FlagClientBound)
	}
	if r.Little != 0 && (r.Little < 1-littleTolerance || r.Little > 1+littleTolerance) {
		r.Flag(FlagLittle)
	}
	if r.clientLate() {
		r.Flag(FlagClientLate)
	}
}

// clientLate reports whether FlagClientLate applies.
func (r *Result) clientLate() bool {
	if r.Lateness == nil {
		return false
	}
	allowed := LateFrom
	if r.Service != nil {
		allowed = max(allowed, time.Duration(lateShare*float64(r.Service.Percentile(50))))
	}
	return r.Lateness.Percentile(latePercentile) > allowed
}

// Flag adds flags that a result does not have yet.
func (r *Result) Flag(flags ...string) {
	for _, flag := range flags {
		if !slices.Contains(r.Flags, flag) {
			r.Flags = append(r.Flags, flag)
		}
	}
}
