package remote

import (
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/wire"
)

// Serve does one task that comes from a stream, by a client of this machine that is held
// to some of its cores, or to none. It
// returns when the task is done, or the stream ends: then it stops whatever it does
// for the task. It tells the other side of its errors, and returns those of the stream.
func Serve(ctx context.Context, from io.Reader, to io.Writer, client load.Client, cores []int, version string) error {
	s := &server{from: gob.NewDecoder(from), to: gob.NewEncoder(to), client: client, cores: cores}
	var t task
	if err := s.from.Decode(&t); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	err := fmt.Errorf("the agent is stackmeter %s, and the orchestrator %s: make the agent's image anew", version, t.Version)
	if t.Version == version {
		err = s.send(ctx, t)
	}
	if err != nil {
		return s.tell(answer{Failed: err.Error(), Disturbed: errors.Is(err, load.ErrDisturbed)})
	}
	return nil
}

// A server is the other side of one stream.
type server struct {
	from    *gob.Decoder
	client  load.Client
	cores   []int
	telling sync.Mutex
	to      *gob.Encoder
}

func (s *server) tell(a answer) error {
	s.telling.Lock()
	defer s.telling.Unlock()
	if err := s.to.Encode(a); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// send prepares a batch, fires it when it is told to, and tells of its result.
func (s *server) send(ctx context.Context, t task) error {
	dir, err := os.MkdirTemp("", "stackmeter-payloads-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	job, err := s.receive(t, dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// From here on the stream has commands alone. Its end ends the batch.
	fire := make(chan struct{})
	go func() {
		defer cancel()
		for fired := false; ; {
			var c command
			if err := s.from.Decode(&c); err != nil || c.Stop {
				return
			}
			if c.Fire && !fired {
				fired = true
				close(fire)
			}
		}
	}()
	batch, err := s.client.Prepare(ctx, job)
	if err != nil {
		return err
	}
	defer batch.Close()
	trips := roundTrips(ctx, job.URL)
	if err := s.tell(answer{Ready: true}); err != nil {
		return err
	}
	select {
	case <-fire:
	case <-ctx.Done():
		return nil // nobody waits for it any more
	}
	told := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(tellInterval)
		defer tick.Stop()
		for {
			select {
			case <-told:
				return
			case <-tick.C:
				if s.tell(answer{Done: batch.Done()}) != nil {
					cancel()
					return
				}
			}
		}
	})
	result, err := batch.Fire(ctx)
	result.RoundTrips = trips
	close(told)
	telling.Wait()
	said := answer{Done: batch.Done(), Result: &result}
	if err != nil {
		said.Failed, said.Disturbed = err.Error(), errors.Is(err, load.ErrDisturbed)
	}
	return s.tell(said)
}

// receive reads the job and its files, which it puts into a folder, each in one of its
// own: payloads keep their names, and two may have the same.
func (s *server) receive(t task, dir string) (load.Job, error) {
	var job load.Job
	if err := json.Unmarshal(t.Job, &job); err != nil {
		return job, fmt.Errorf("read the job: %w", err)
	}
	job.Cores = s.cores
	var names []string
	for i, f := range t.Files {
		name := filepath.Join(dir, strconv.Itoa(i), filepath.Base(f.Name))
		if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil {
			return job, err
		}
		if err := s.receiveFile(name, f.Size); err != nil {
			return job, err
		}
		names = append(names, name)
	}
	return job, place(&job.Request, names)
}

func (s *server) receiveFile(name string, size int64) (err error) {
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	for left := size; left > 0; {
		var p piece
		if err := s.from.Decode(&p); err != nil {
			return fmt.Errorf("read a payload: %w", err)
		}
		if n := int64(len(p.Data)); n == 0 || n > left {
			return errors.New("read a payload: it is not as long as it was said to be")
		}
		if _, err := to.Write(p.Data); err != nil {
			return fmt.Errorf("keep a payload: %w", err)
		}
		left -= int64(len(p.Data))
	}
	return nil
}

// place puts the files' names here into a request, in the order of contentsOf.
func place(r *wire.Request, names []string) error {
	if n := len(r.Files()); len(names) < n {
		return fmt.Errorf("the job names %d files, and %d came", n, len(names))
	}
	switch {
	case r.Multipart != nil:
		n := len(r.Multipart.Files)
		r.Multipart.Files, names = names[:n:n], names[n:]
	case r.Body != nil:
		n := len(r.Body.Files)
		r.Body.Files, names = names[:n:n], names[n:]
	}
	if r.TLS != nil && r.TLS.CA != "" && len(names) == 1 {
		r.TLS.CA, names = names[0], nil
	}
	if len(names) > 0 {
		return fmt.Errorf("%d files came that the job does not name", len(names))
	}
	return nil
}

// Of the round trips before a batch: how many there are, unless that takes too long.
const (
	mostTrips = 200
	tripsFor  = 500 * time.Millisecond
)

// roundTrips measures how long connections to a server take to be made, one after the
// other: its kernel answers each, with what the network takes. Nothing is sent on them.
// It is nil if one cannot be made, of which the batch will tell.
func roundTrips(ctx context.Context, server string) *load.Latency {
	to, err := url.Parse(server)
	if err != nil {
		return nil
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	trips := new(load.Latency)
	for began := time.Now(); trips.Count() < mostTrips && time.Since(began) < tripsFor; {
		dialed := time.Now()
		conn, err := dialer.DialContext(ctx, "tcp", to.Host)
		if err != nil {
			return nil
		}
		trips.Record(time.Since(dialed))
		conn.Close()
	}
	return trips
}
