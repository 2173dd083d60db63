// Package server shows a store's runs to a browser on the same machine: the
// pages of package pages, and a run under way as it grows.
//
// It only reads. It answers GET and HEAD, and only requests that were meant
// for it: one whose Host is not the address that it listens on was sent by a
// page elsewhere through a name that it made point here (DNS rebinding).
package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"stackmeter/results"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/results/words"
	"stackmeter/scenarios/threshold"
)

// A Store is what is read of a results.Store.
type Store interface {
	Runs(ctx context.Context, scope results.Scope, last int) ([]results.Run, error)
	ByID(ctx context.Context, id string) (results.Run, error)
	Run(ctx context.Context, which string) (results.Run, []results.Record, error)
	History(ctx context.Context, scenario, pattern, metric string, last int) ([]results.Run, []results.Observation, error)
}

// A Server shows one store.
type Server struct {
	Store Store
	Name  string // of the store, for its readers

	// Alive reports whether the process of a run that has not finished is
	// still there; nil takes every one for alive.
	Alive func(results.Run) bool
}

// followSeconds is how often a page of a run under way looks for more.
const followSeconds = 2

// shutdownWait bounds the wait for answers under way at the end.
const shutdownWait = 2 * time.Second

// Listen opens the address to serve on, which must be one of this machine's
// own: host:port with a loopback host, port 0 for any that is free.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s is no address to listen on; write it as 127.0.0.1:8080", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is not of this machine alone, and there are no passwords here; listen on 127.0.0.1 and put a proxy or an ssh tunnel in front", address)
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// Serve answers until ctx is done, and then waits for the answers under way.
// It closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	answering := &http.Server{
		Handler: s.Handler(listener.Addr()), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		WriteTimeout: 2 * time.Minute, MaxHeaderBytes: 1 << 16,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- answering.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
	defer cancel()
	err := answering.Shutdown(wait)
	if errors.Is(err, context.DeadlineExceeded) {
		err = answering.Close() // a reader that does not read
	}
	return err
}

// Handler answers for a server at the address.
func (s *Server) Handler(at net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page(s.runs))
	mux.HandleFunc("GET /runs/{run}", s.page(s.run))
	mux.HandleFunc("GET /runs/{run}/cell", s.page(s.cell))
	mux.HandleFunc("GET /runs/{run}/state", s.state)
	mux.HandleFunc("GET /compare", s.page(s.compare))
	mux.HandleFunc("GET /history", s.page(s.history))
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, http.StatusNotFound, "Nothing here", "There is no page "+r.URL.Path+".", nav())
	})
	return guard(at, mux)
}

// guard lets only requests through that are meant for this server, and gives
// every answer the headers that keep a browser from doing more with it than
// showing it.
func guard(at net.Addr, next http.Handler) http.Handler {
	_, port, _ := net.SplitHostPort(at.String())
	var hosts []string
	for _, host := range []string{"127.0.0.1", "localhost", "::1"} {
		hosts = append(hosts, net.JoinHostPort(host, port))
	}
	if host, _, err := net.SplitHostPort(at.String()); err == nil {
		hosts = append(hosts, net.JoinHostPort(host, port)) // 127.0.0.2
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pages.Policy(true)+"; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !slices.Contains(hosts, strings.ToLower(r.Host)): // names of hosts have no case
			http.Error(w, "this server is for "+hosts[0]+" only", http.StatusMisdirectedRequest)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "this server only shows", http.StatusMethodNotAllowed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// A refusal is that of two runs that differ in kind.
type refusal struct {
	error
	anyway string // the address of the comparison all the same
}

// A notFound is an error of an address that leads nowhere.
type notFound struct{ error }

// page answers with a whole page, or with the error.
func (s *Server) page(write func(io.Writer, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		if err := write(&b, r); err != nil {
			status, title, links := http.StatusInternalServerError, "That did not work", nav()
			if refused := (refusal{}); errors.As(err, &refused) {
				status, title, links = http.StatusConflict, "Not compared", append(links, pages.Link{Text: "Compare them anyway", Href: refused.anyway})
			} else if errors.As(err, &notFound{}) {
				status, title = http.StatusNotFound, "Not in the store"
			}
			s.fail(w, status, title, err.Error(), links)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(b.Bytes()) // the reader may have gone
	}
}

func (s *Server) fail(w http.ResponseWriter, status int, title, text string, links []pages.Link) {
	var b bytes.Buffer
	if err := pages.WriteErrorPage(&b, title, text, links); err != nil {
		http.Error(w, title, status)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

func nav() []pages.Link { return []pages.Link{{Text: "All runs", Href: "/"}} }

func runAddress(run string) string { return "/runs/" + url.PathEscape(run) }

// listedRuns is how many runs the first page lists, unless its address says all=1.
const listedRuns = 300

func (s *Server) runs(w io.Writer, r *http.Request) error {
	last := listedRuns
	if r.URL.Query().Get("all") != "" {
		last = 0
	}
	runs, err := s.Store.Runs(r.Context(), results.Scope{}, last)
	if err != nil {
		return err
	}
	var links []pages.Link
	if last > 0 && len(runs) == last {
		links = []pages.Link{{Text: "Earlier runs too", Href: "/?all=1"}}
	}
	return pages.WriteRunsPage(w, s.Name, runs, links, pages.RunsAddresses{Run: runAddress, Compare: compareAddress, History: historyAddress}, s.alive)
}

func (s *Server) alive(run results.Run) bool { return s.Alive == nil || s.Alive(run) }

// compareAddress is where two runs are compared.
func compareAddress(base, head string) string {
	return "/compare?" + url.Values{"base": {base}, "head": {head}}.Encode()
}

func (s *Server) compare(w io.Writer, r *http.Request) error {
	var runs [2]results.Run
	var records [2][]results.Record
	for i, name := range []string{"base", "head"} {
		var err error
		if _, runs[i], records[i], err = s.whole(r.Context(), r.URL.Query().Get(name)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if refused, is := words.Refused(runs[0], runs[1], r.URL.Query()["across"]); is {
		return refusal{errors.New(refused.String()), compareAddress(runs[0].ID, runs[1].ID) + "&across=all"}
	}
	// As stackmeter compare does it: the head's thresholds against this base. The
	// head's own checks are against another one.
	var thresholds []*threshold.Threshold
	for _, text := range runs[1].Plan.Thresholds {
		t, err := results.Vocabulary().Parse(text)
		if err != nil {
			return fmt.Errorf("threshold %q of run %s: %w", text, runs[1].ID, err)
		}
		thresholds = append(thresholds, t)
	}
	checks := verdict.CheckThresholds(thresholds, verdict.Judged(runs[1], records[1]), verdict.SummariseRun(runs[0], records[0]))
	comparison := verdict.CompareRuns(runs[0], runs[1], records[0], records[1])
	if err := verdict.ReadNights(r.Context(), s.Store, &comparison); err != nil {
		return err
	}
	return pages.WriteComparisonPage(w, comparison, checks, nav(), runAddress)
}

// historyRuns is over how many runs a history goes back.
const historyRuns = 90

// historyAddress is the page of a scenario: its nights.
func historyAddress(scenario string) string {
	return "/history?" + url.Values{"scenario": {scenario}}.Encode()
}

func (s *Server) history(w io.Writer, r *http.Request) error {
	query := r.URL.Query()
	var metrics []results.Figure
	if name := query.Get("metric"); name != "" {
		metric, err := results.FindMetric(name)
		if err != nil {
			return notFound{err}
		}
		metrics = []results.Figure{metric}
	}
	all, err := history.Read(r.Context(), s.Store, query.Get("scenario"), "", metrics, historyRuns)
	if err != nil {
		return s.absent(err)
	}
	links := append(nav(), pages.Link{Text: "duration and memory", Href: historyAddress(all[0].Scenario)})
	for _, m := range []string{results.MetricThroughput, results.MetricP99, results.MetricGPUPeak, results.MetricMemoryPeak, results.MetricErrors} {
		links = append(links, pages.Link{Text: m, Href: historyAddress(all[0].Scenario) + "&metric=" + m})
	}
	return pages.WriteHistoryPage(w, all, pages.HistoryOptions{Nav: links, RunAddress: runAddress})
}

// find returns the run with this whole id.
func (s *Server) find(ctx context.Context, id string) (results.Run, error) {
	run, err := s.Store.ByID(ctx, id)
	return run, s.absent(err)
}

// whole returns the run with this whole id and its records, and the run as it was
// found before those were read.
func (s *Server) whole(ctx context.Context, id string) (found, run results.Run, records []results.Record, err error) {
	if found, err = s.find(ctx, id); err == nil {
		run, records, err = s.Store.Run(ctx, found.ID)
	}
	return found, run, records, err
}

// absent makes the store's error one of an address that leads nowhere, where it
// holds no such run.
func (s *Server) absent(err error) error {
	if errors.Is(err, results.ErrNoRun) {
		return notFound{err}
	}
	return err
}

// version changes when a run's page would.
func (s *Server) version(run results.Run) string {
	text := run.Outcome + run.Verdict + fmt.Sprint(s.alive(run))
	if run.Counts != nil {
		text += fmt.Sprintf(" %d %d %d", run.Counts.OK, run.Counts.Failed, run.Counts.Pruned)
	}
	return text
}

func (s *Server) run(w io.Writer, r *http.Request) error {
	found, run, records, err := s.whole(r.Context(), r.PathValue("run"))
	if err != nil {
		return err
	}
	opts := pages.PageOptions{Nav: nav(), CellAddress: func(name string) string {
		return runAddress(run.ID) + "/cell?" + url.Values{"name": {name}}.Encode()
	}}
	if opts.Changed, err = history.LastTime(r.Context(), s.Store, run, records); err != nil {
		opts.Banner = "What changed since the last time cannot be said: " + err.Error() // this run was read
	}
	switch {
	case run.Outcome != "":
	case s.alive(run):
		// Of the version that was read first: what came in between is looked
		// for again.
		opts.Follow = &pages.Follow{Seconds: followSeconds, State: runAddress(run.ID) + "/state", Version: s.version(found)}
	default:
		opts.Banner = "This run never finished: its process is gone. --resume goes on with it."
	}
	return pages.WritePage(w, run, records, opts)
}

func (s *Server) cell(w io.Writer, r *http.Request) error {
	_, run, records, err := s.whole(r.Context(), r.PathValue("run"))
	if err != nil {
		return err
	}
	name := r.URL.Query().Get("name")
	if !slices.ContainsFunc(records, func(r results.Record) bool { return r.Topology.Name+"/"+r.Cell.Load.Name() == name }) {
		return notFound{fmt.Errorf("run %s holds no cell %s", run.ID, name)}
	}
	links := append(nav(), pages.Link{Text: run.ID, Href: runAddress(run.ID)})
	return pages.WriteCellPage(w, run, records, name, links)
}

// state says which version of a run's page is the current one.
func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	run, err := s.find(r.Context(), r.PathValue("run"))
	switch {
	case errors.As(err, &notFound{}):
		http.Error(w, "not in the store", http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, "the store cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"version": s.version(run)}) // the reader may have gone
}
