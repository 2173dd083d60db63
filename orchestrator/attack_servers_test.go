package orchestrator_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/scenarios/ready"
)

// TestAttackUpstreamKeepalive: a server that closes its connections gets a new one
// from nginx for each request. Where the scenario says otherwise and nginx gets no
// answer, the record has what both sides say.
func TestAttackUpstreamKeepalive(t *testing.T) {
	b := newBench(t)
	records := b.mustExecute(b.plan(`
request: {max_errors: 100%}
topologies:
  - {name: uwsgi, nginx: true, command: [uwsgi, --plugin, python3, --disable-logging, --http-socket, "{host}:{port}", --master, --processes, "2", --module, "{wsgi}"]}
  - {name: kept, nginx: {upstream_keepalive: 8}, command: [python3, -uc, ` + strconv.Quote(closesLate) + `, "{host}", "{port}"]}
matrix: {requests: [200], client: [mt], pool: [4], keepalive: [true]}
`))
	if r := records["nginx+uwsgi/mt4/n200/keepalive"]; r.Status != results.StatusOK || r.Errors > 0 || r.LogTail != "" {
		t.Errorf("uwsgi: %s, %d errors: %v %s\n%s", r.Status, r.Errors, r.FirstErrors, r.Reason, r.LogTail)
	}
	r := records["nginx+kept/mt4/n200/keepalive"]
	if r.Status != results.StatusOK || r.Errors == 0 {
		t.Errorf("a server that closes kept connections: %s, %d errors: %s", r.Status, r.Errors, r.Reason)
	}
	if !slices.Contains(r.Flags, results.FlagUnverified) || r.Stack == nil || r.Stack.Unread == "" {
		t.Errorf("a command of the scenario's own is not flagged: %v, %+v", r.Flags, r.Stack)
	}
	for _, said := range []string{"nginx | ", "upstream prematurely closed connection", "app | closed before its second request"} {
		if !strings.Contains(r.LogTail, said) {
			t.Errorf("no %q in the logs of an ok cell with 502s:\n%s", said, r.LogTail)
		}
	}
}

// TestAttackWrongReadyPath: a ready path that the app refuses costs one time-out,
// not one for each stack.
func TestAttackWrongReadyPath(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	p := b.plan(`
topologies:
  - flask
  - gunicorn w1/t2
  - nginx + gunicorn w2
  - {name: own, command: [gunicorn, -b, "{host}:{port}", "{wsgi}"]}
matrix: {requests: [2, 4], client: [single]}
repeats: 3
`)
	p.App.Ready = ready.Probe{Path: "/nowhere", Timeout: 10 * time.Second}
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) != 8 {
		t.Fatalf("%d cells: %v", len(records), err)
	}
	started := 0
	for _, e := range b.events {
		if e.Kind == orchestrator.EventStart {
			started++
		}
	}
	if started != 1 {
		t.Errorf("%d stacks were started", started)
	}
	for name, r := range records {
		if r.Status != results.StatusFailed || !strings.Contains(r.Reason, "/nowhere answered 404") || !strings.Contains(r.Reason, "app.ready.path") {
			t.Errorf("%s: %s: %s", name, r.Status, r.Reason)
		}
	}
}

// closesLate is a server that answers the first request of each connection and
// closes it at the second.
const closesLate = `import socket, sys, threading
def serve(c):
    if c.recv(9999):
        c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    if c.recv(9999):
        print('closed before its second request')
    c.close()
s = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=99)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],)).start()
`
