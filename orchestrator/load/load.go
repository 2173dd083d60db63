// Package load says what a load client is asked, what it answers, and what all
// clients share: payloads, the schedule of an open loop, the judgement of
// answers, and how figures are counted. Packages native and python send.
//
// A Client prepares a Batch (payloads in memory, processes started and waiting),
// which a starting gun then fires: Duration counts from the gun to the last
// reply, on the monotonic clock, so that neither reading files nor starting
// processes is part of it.
package load

import (
	"cmp"
	"context"
	"time"

	"stackmeter/scenarios"
)

// A Job is one batch of requests against one URL.
type Job struct {
	URL     string // scheme (http or https), host and port; or http+unix:// and a socket's path
	Request scenarios.Request
	Load    scenarios.LoadSpec

	// GiveUp ends the batch early when nothing works: once it has had this many
	// errors, and at least one for each of its clients, without a single reply,
	// no more is sent. 0: never.
	GiveUp int

	Seed  uint64 // of everything random: arrivals, and payloads with pick: random
	Cores []int  // that the client's processes may use; all that this one may when empty
}

// Timeout is how long one request may take, from connecting to the answer's last byte.
func (j Job) Timeout() time.Duration { return cmp.Or(j.Request.Timeout, time.Minute) }

// A Client prepares batches of requests.
type Client interface {
	// Image makes the image that the client runs from and returns its content
	// address; empty where it runs from none. It may be called again and then
	// costs little. It reports what it does to progress, a line at a time.
	Image(ctx context.Context, progress func(string)) (digest string, err error)

	Prepare(ctx context.Context, job Job) (Batch, error)
}

// A Batch is one cell's requests, ready to be sent.
type Batch interface {
	// Fire sends them and returns when the last answer is in. When ctx ends
	// first, what was found until then is returned with ctx's error.
	Fire(ctx context.Context) (Result, error)

	// Done is how many requests have been answered or have failed so far. It
	// may be called from any goroutine.
	Done() int

	// Close ends the client's processes. It may be called more than once.
	Close() error
}

// MaxBody is the longest body of an answer, in bytes. A longer one is an error
// of kind protocol, so that no server can hold a client for ever.
const MaxBody = 64 << 20

// Kinds of errors. They are few and fixed, so that they can be counted and
// compared; the message of the first one of each kind is kept beside them.
const (
	ErrConnect   = "connect"   // no connection
	ErrTimeout   = "timeout"   // no whole answer within the request's time-out
	ErrReset     = "reset"     // the connection broke before the answer's first byte
	ErrTruncated = "truncated" // the connection broke within the answer, or its length was wrong
	ErrProtocol  = "protocol"  // what came back is no HTTP answer, or larger than allowed
	ErrStatus    = "status"    // not the expected status
	ErrMismatch  = "mismatch"  // not the expected body, or not the one that the same request was answered with before
)

// A Result is what a batch did. A batch that was cancelled, lost a process, gave
// up or had more errors than its request allows has fewer Replies and Errors
// together than Requests.
type Result struct {
	Requests int           // asked for
	Replies  int           // answers that were as expected
	Duration time.Duration // from the gun to the last reply or error
	Latency  *Latency      // of the replies, from the moment each was due; nil when there was none

	Connect   *Latency // of new connections, the TLS handshake included; nil when there was none
	FirstByte *Latency // of the replies, from the sending to the first byte of the answer; connecting is part of it
	Service   *Latency // open loop: of the replies, from the sending
	Lateness  *Latency // open loop at a rate: how long after its moment each request was sent
	Pickup    *Latency // from a reply's arrival, where Latency ends, to the client's reading it. Only replies that the kernel stamped count; the Latency of the others ends with the reading. nil: no reply was stamped
	Late      int      // open loop at a rate: requests sent more than a millisecond after their moments
	InFlight  int      // open loop: the most requests at once

	Errors      int               // answers and failures that were not as expected
	ErrorKinds  map[string]int    // by kind
	FirstErrors map[string]string // the first message of each kind
	Retries     int               // requests that a kept connection was made anew for, because the server had closed it

	CPU        time.Duration // of the client's processes while the batch ran, user and system
	BytesSent  int64
	BytesRead  int64
	Hand       string        // how requests were handed out: HandNext or HandSplit
	StartDelay time.Duration // from the gun to the last client's first request

	// Little is throughput × mean latency ÷ clients, which Little's law puts
	// at 1 for a closed loop whose clocks start at the right moment: what is
	// missing is time in which a client neither sent nor waited. Pickup counts
	// as latency here: the client still waited, though not for the server. A client
	// counts from its first request to its last reply or error, so that
	// neither the start nor an uneven end takes part, and so does the time
	// that failed requests took. 0 for an open loop, and with no reply.
	Little float64

	Pauses GCPauses // of the client's processes
	Cores  []int    // that the client's processes were held to; nil: none

	Search *Search // how the rate was found; nil where it was given

	Flags []string
}

// GCPauses are the stops of the client's processes by Go's garbage collector
// while the batch ran.
type GCPauses struct {
	Count int
	Total time.Duration
	Max   time.Duration // of the last 256 of each process
}

// Add adds another process's.
func (p *GCPauses) Add(other GCPauses) {
	p.Count += other.Count
	p.Total += other.Total
	p.Max = max(p.Max, other.Max)
}

// Flags of a batch: doubts about what its figures say.
const (
	// FlagClientBound marks a batch whose client used nearly all the CPU that
	// it could get: what it measured is the client's limit, not the server's.
	FlagClientBound = "client-bound"

	// FlagLittle marks a closed loop whose figures do not fit each other: its
	// Little is more than littleTolerance away from 1.
	FlagLittle = "little"

	// FlagInsecure marks a batch that did not verify the server's certificate:
	// whoever answered was measured.
	FlagInsecure = "tls-insecure"

	// FlagClientLate marks an open loop that was not open: of more than one
	// request in a hundred the delay between its moment and its sending was
	// above a millisecond and above a twentieth of the median service time.
	// The client had too little CPU, or InFlight reached the pool. Latency is
	// still counted from the moments.
	FlagClientLate = "client-late"
)

// Tolerances of the flags above.
const (
	littleTolerance = 0.05
	latePercentile  = 99
	lateShare       = 0.05
)

// clientBoundShare is the share of the CPU available to the client's processes
// from which a batch is flagged. Each process runs on one core at a time, so
// what is available is wall time × min(processes, cores). It is below 1
// because a client at 80% already makes answers wait for it: in a queue with
// that utilisation the mean wait is four times the service time (M/M/1).
const clientBoundShare = 0.8

// How requests are handed to the clients of a batch.
const (
	HandNext   = "next"   // whoever is free takes the next one
	HandSplit  = "split"  // each client is given its share beforehand
	HandChunks = "chunks" // whoever is free takes a quarter of a client's share, rounded up: a pool of Python's multiprocessing, of processes and of threads
)
