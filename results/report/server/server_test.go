package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/report/server"
	"stackmeter/results/sqlite"
	"stackmeter/scenarios"
)

// A site is a running server and its store.
type site struct {
	t     *testing.T
	url   string
	store *sqlite.Store // to write to, as a run would
	alive *sync.Map     // of runs
	stop  func() error
}

// openStore is an empty store in memory.
func openStore(t *testing.T) *sqlite.Store {
	t.Helper()
	store, err := sqlite.OpenInMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func newSite(t *testing.T) *site {
	t.Helper()
	listener, err := server.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, url: "http://" + listener.Addr().String(), store: openStore(t), alive: new(sync.Map)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	shown := server.Server{Store: s.store, Name: "s.db", Alive: func(run results.Run) bool {
		_, alive := s.alive.Load(run.ID)
		return alive
	}}
	go func() { ended <- shown.Serve(ctx, listener) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// get asks for a page and returns its status and text.
func (s *site) get(path string, change func(*http.Request)) (int, http.Header, string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(request)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

var (
	topology = scenarios.Topology{Name: "flask", Server: "flask"}
	mt2      = scenarios.LoadSpec{Requests: 10, Client: scenarios.ClientMT, Pool: 2}
)

func (s *site) begin(id string) {
	s.t.Helper()
	run := results.Run{ID: id, Scenario: "nightly", Started: time.Now()}
	for repeat := 1; repeat <= 3; repeat++ {
		run.Plan.Trials = append(run.Plan.Trials, scenarios.Trial{Topology: topology, Repeat: repeat, Cells: []scenarios.Cell{{Name: "flask/mt2/n10", Repeat: repeat, Load: mt2}}})
	}
	run.Planned = run.Plan.Cells()
	if err := s.store.Begin(s.t.Context(), run); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) put(id string, repeat int) {
	s.t.Helper()
	s.putOf(id, topology, repeat)
}

func (s *site) putOf(id string, topology scenarios.Topology, repeat int) {
	s.t.Helper()
	duration := 1.25 + float64(repeat)
	if err := s.store.Put(s.t.Context(), results.Record{Run: id, Topology: topology, Status: results.StatusOK, Replies: 10, Duration: &duration,
		Cell: scenarios.Cell{Name: topology.Name + "/mt2/n10", Repeat: repeat, Load: mt2}, Started: time.Now()}); err != nil {
		s.t.Fatal(err)
	}
}

// TestRunUnderWay follows a run from its first cell to its end, and one whose
// process was killed.
func TestRunUnderWay(t *testing.T) {
	s := newSite(t)
	if status, _, body := s.get("/", nil); status != http.StatusOK || !strings.Contains(body, "holds no runs yet") {
		t.Errorf("an empty store: %d %s", status, body)
	}
	const id = "2026 night/1?#%"
	s.begin(id)
	s.alive.Store(id, true)
	s.put(id, 1)
	address := "/runs/2026%20night%2F1%3F%23%25"
	if _, _, body := s.get("/", nil); !strings.Contains(body, `href="`+address+`"`) || !strings.Contains(body, "under way") || !strings.Contains(body, "1 of 3 cells") {
		t.Errorf("the list does not lead to the run:\n%s", body)
	}
	version := func() string {
		t.Helper()
		status, header, body := s.get(address+"/state", nil)
		var state struct{ Version string }
		if err := json.Unmarshal([]byte(body), &state); err != nil || status != http.StatusOK || header.Get("Content-Type") != "application/json" {
			t.Fatalf("state: %d %s", status, body)
		}
		return state.Version
	}
	status, _, body := s.get(address, nil)
	first := version()
	for _, want := range []string{"1 of 3 planned cells measured", `data-state="` + address + `/state"`, `data-version="` + first + `"`, "2.25"} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%d, without %s:\n%s", status, want, body)
		}
	}
	s.put(id, 2)
	if version() == first {
		t.Error("another cell did not change the version")
	}
	if _, _, body := s.get(address+"/cell?name=flask%2Fmt2%2Fn10", nil); !strings.Contains(body, "<h1>flask/mt2/n10</h1>") || !strings.Contains(body, "3.250 s") {
		t.Errorf("the page of a cell:\n%s", body)
	}
	s.alive.Delete(id)
	if _, _, body := s.get(address, nil); !strings.Contains(body, "its process is gone") || strings.Contains(body, "data-follow") {
		t.Error("a killed run is followed")
	}
	if err := s.store.Finish(t.Context(), id, results.OutcomeOK, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, body := s.get(address, nil); strings.Contains(body, "data-follow") || strings.Contains(body, "<progress") {
		t.Error("a run that has ended is followed")
	}
}

// TestCompare follows the link from a run to what changed since the one before.
func TestCompare(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{"night&1", "night&2"} {
		s.begin(id)
		for repeat := 1; repeat <= 3; repeat++ {
			s.put(id, repeat)
		}
		if err := s.store.Finish(t.Context(), id, results.OutcomeOK, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	const address = "/compare?base=night%261&head=night%262"
	if _, _, body := s.get("/", nil); !strings.Contains(body, strings.ReplaceAll(address, "&head", "&amp;head")) {
		t.Errorf("the list does not lead to the comparison:\n%s", body)
	}
	status, _, body := s.get(address, nil)
	for _, want := range []string{"Of 1 cell ok in both runs, shown to be worse in a figure: 0; better: 0.", "too few repeats", "3.25 ±1.00 s", ">~<", `href="/runs/night&amp;1"`} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%d, without %q", status, want)
		}
	}
	if status, _, body := s.get("/history?scenario=nightly", nil); status != http.StatusOK || !strings.Contains(body, "Duration of flask/mt2/n10 over 2 runs, with 0 steps.") {
		t.Errorf("history: %d\n%s", status, body)
	}
	if _, _, body := s.get("/history?scenario=nightly", nil); !strings.Contains(body, ">Nights<") || strings.Index(body, `href="/runs/night&amp;2"`) > strings.Index(body, `href="/runs/night&amp;1"`) || !strings.Contains(body, `href="/runs/night&amp;1"`) {
		t.Errorf("the page of a scenario does not list its nights, the last first:\n%s", body)
	}
	if status, _, _ := s.get("/history?metric=speed", nil); status != http.StatusNotFound {
		t.Errorf("history of no metric: %d", status)
	}
	if status, _, _ := s.get("/compare?base=night%261&head=other", nil); status != http.StatusNotFound {
		t.Errorf("a run that is not there: %d", status)
	}
}

// TestAttackOtherKind: runs that differ in kind are not judged, with the words that
// compare has, unless they are asked for all the same.
func TestAttackOtherKind(t *testing.T) {
	s := newSite(t)
	for id, memory := range map[string]int64{"one": 1 << 30, "two": 2 << 30} {
		run := results.Run{ID: id, Scenario: "nightly", Started: time.Now(), Planned: 1, Plan: scenarios.Plan{Client: scenarios.Client{Engine: scenarios.EngineNative}}}
		run.Plan.Resources.Memory = memory
		if err := s.store.Begin(t.Context(), run); err != nil {
			t.Fatal(err)
		}
		s.put(id, 1)
	}
	const address = "/compare?base=one&head=two"
	status, _, body := s.get(address, nil)
	for _, want := range []string{"refused: not comparable: one and two differ in limits (gpu, 1024 MiB against gpu, 2048 MiB); --across limits compares them anyway",
		`href="` + strings.ReplaceAll(address, "&", "&amp;") + `&amp;across=all"`} {
		if status != http.StatusConflict || !strings.Contains(body, want) {
			t.Errorf("%d, without %q:\n%s", status, want, body)
		}
	}
	for _, across := range []string{"all", "limits"} {
		if status, _, body := s.get(address+"&across="+across, nil); status != http.StatusOK || !strings.Contains(body, "differ in") && !strings.Contains(body, "limits (gpu") {
			t.Errorf("across %s: %d\n%s", across, status, body)
		}
	}
	if status, _, _ := s.get(address+"&across=cpu", nil); status != http.StatusConflict {
		t.Errorf("across another kind: %d", status)
	}
}

// TestGuard asks in ways that a page elsewhere, or somebody who means harm,
// would.
func TestGuard(t *testing.T) {
	s := newSite(t)
	s.begin("one")
	port := s.url[strings.LastIndexByte(s.url, ':')+1:]
	for name, test := range map[string]struct {
		path   string
		change func(*http.Request)
		want   int
	}{
		"as it should be":    {"/", nil, http.StatusOK},
		"localhost":          {"/", func(r *http.Request) { r.Host = "localhost:" + port }, http.StatusOK},
		"LOCALHOST":          {"/", func(r *http.Request) { r.Host = "LocalHost:" + port }, http.StatusOK},
		"a rebound name":     {"/", func(r *http.Request) { r.Host = "evil.example:" + port }, http.StatusMisdirectedRequest},
		"another port":       {"/", func(r *http.Request) { r.Host = "127.0.0.1:1" }, http.StatusMisdirectedRequest},
		"no port":            {"/runs/one", func(r *http.Request) { r.Host = "127.0.0.1" }, http.StatusMisdirectedRequest},
		"post":               {"/runs/one", func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
		"delete":             {"/runs/one", func(r *http.Request) { r.Method = http.MethodDelete }, http.StatusMethodNotAllowed},
		"head":               {"/", func(r *http.Request) { r.Method = http.MethodHead }, http.StatusOK},
		"no such page":       {"/etc/passwd", nil, http.StatusNotFound},
		"no such run":        {"/runs/two", nil, http.StatusNotFound},
		"the start of an id": {"/runs/on", nil, http.StatusNotFound},
		"no such cell":       {"/runs/one/cell?name=<script>alert(1)</script>", nil, http.StatusNotFound},
		"out of the folder":  {"/runs/..%2f..%2fetc%2fpasswd", nil, http.StatusNotFound},
		"no such scenario":   {"/history?scenario=unknown", nil, http.StatusNotFound},
		"compare nothing":    {"/compare", nil, http.StatusNotFound},
		"state of no run":    {"/runs/two/state", nil, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, body := s.get(test.path, test.change)
			if status != test.want {
				t.Errorf("status %d, want %d: %s", status, test.want, body)
			}
			if strings.Contains(body, "<script>alert") {
				t.Error("a part of the address is in the page as it was")
			}
			for key, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
				"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
			} {
				if !strings.HasPrefix(header.Get(key), want) {
					t.Errorf("%s: %q", key, header.Get(key))
				}
			}
		})
	}
}

func TestListenOnThisMachineOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:80", "127.0.0.1", ""} {
		if listener, err := server.Listen(t.Context(), address); err == nil {
			listener.Close()
			t.Errorf("listens on %q", address)
		}
	}
}

// TestShutdown ends the server while a connection is open and another idles.
func TestShutdown(t *testing.T) {
	s := newSite(t)
	s.get("/", nil)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\n") // and no more
	if err := s.stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	if conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		conn.Close()
		t.Error("something still listens")
	}
}
