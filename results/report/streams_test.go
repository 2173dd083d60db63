package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

// streaming is a record whose answers streamed.
func streaming(spec scenarios.LoadSpec, repeat int) results.Record {
	r := measured(flask, spec, repeat, 2, 100)
	r.Load.Events, r.Load.FirstByte = new(int64(1200)), &results.Spread{P50: 0.011, P99: 0.012, Max: 0.013}
	r.Load.FirstEvent, r.Load.EventGap = &results.Spread{P50: 0.021, P99: 0.022, Max: 0.023}, &results.Spread{P50: 0.031, P99: 0.032, Max: 0.033}
	return r
}

// TestStreams: how events came stands in every report of a cell whose answers stream,
// and nothing of it in another.
func TestStreams(t *testing.T) {
	short := streaming(mt5, 1) // of one event each
	short.Load.EventGap = nil
	for format, lines := range map[string][]string{
		"table": {"Streams", "flask/single/n40 1200 11.0 ms 21.0 ms 22.0 ms 31.0 ms 32.0 ms 33.0 ms", "flask/mt5/n40 1200 11.0 ms 21.0 ms 22.0 ms – – –"},
		"html":  {"Streams", "31.0 ms"},
		"csv":   {",0.011,0.012,0.021,0.022,1200,0.031,0.032,", ",0.011,0.012,0.021,0.022,1200,,,"},
		"json":  {`"events": 1200, "first_event_s": { "p50": 0.021, "p99": 0.022, "max": 0.023 }, "event_gap_s": { "p50": 0.031,`, `"event_gap_p99": {`},
	} {
		got := strings.Join(strings.Fields(render(t, format, sampleRun(), []results.Record{streaming(single, 1), short}, report.Options{})), " ")
		plain := strings.Join(strings.Fields(render(t, format, sampleRun(), []results.Record{measured(flask, single, 1, 2, 100)}, report.Options{})), " ")
		for _, line := range lines {
			if !strings.Contains(got, line) || strings.Contains(plain, line) {
				t.Errorf("%s: %q is not there, or without a stream too, in\n%s", format, line, got)
			}
		}
	}
}

// TestStreamsReadBack: JSON keeps the figures of streams, and CSV how many events there
// were. What contradicts itself is refused.
func TestStreamsReadBack(t *testing.T) {
	text := render(t, "json", sampleRun(), []results.Record{streaming(single, 1), measured(flask, mt5, 1, 2, 100)}, report.Options{})
	read, err := exchange.Read("x.json", strings.NewReader(text), "")
	if err != nil {
		t.Fatal(err)
	}
	records := read[0].Records
	if again := render(t, "json", read[0].Run, records, report.Options{}); again != text {
		t.Errorf("read back, it is another report:\n%s", again)
	}
	for _, m := range results.Metrics() {
		want, got := m.Of(new(streaming(single, 1))), m.Of(&records[0])
		if !strings.Contains(m.Name, "event") {
			continue
		}
		if want == nil || got == nil || *want != *got || m.Of(&records[1]) != nil {
			t.Errorf("%s is %v and %v, want %v and none", m.Name, got, m.Of(&records[1]), want)
		}
	}
	table, err := exchange.Read("x.csv", strings.NewReader(render(t, "csv", sampleRun(), records, report.Options{})), "")
	if err != nil || *table[0].Records[0].Load.Events != 1200 || table[0].Records[1].Load.Events != nil {
		t.Errorf("the CSV: %+v, %v", table, err)
	}
	for _, wrong := range []struct{ from, to, want string }{
		{`"events": 1200`, `"events": 1`, "load.events cannot be 1"},
		{`"events": 1200`, `"events": null`, "load.events cannot be 0"},
		{`"events": 1200`, `"events": -3`, "events is -3"},
		{`"p50": 0.031`, `"p50": 0.5`, "event_gap_p50_s is 0.5 and event_gap_p99_s is 0.032"},
		{`"p50": 0.021`, `"p50": 0.5`, "first_event_p50_s is 0.5 and first_event_p99_s is 0.022"},
	} {
		if _, err := exchange.Read("x.json", strings.NewReader(strings.ReplaceAll(text, wrong.from, wrong.to)), ""); err == nil || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%s: %v, want %q", wrong.to, err, wrong.want)
		}
	}
}

// TestLoadOfStreams: the client alone says what it expected of a stream, and how its
// events came.
func TestLoadOfStreams(t *testing.T) {
	run := sampleRun()
	run.Plan.Request = wire.Request{Method: "GET", Stream: wire.StreamLines, Expect: expect.Answer{
		Status: 200, Events: &expect.Count{Min: 5}, LastEvent: &expect.Event{JSON: map[string]string{"done": "true", "n": "5"}}}}
	var text bytes.Buffer
	r := streaming(single, 1)
	r.Latency = new(load.Latency)
	r.Latency.Record(time.Second)
	if err := report.WriteLoad(&text, run, r, report.Options{}); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{"expects a stream of lines, status 200, events 5-, last event done=true and n=5;", "stream 1200 events, 600 per second",
		"to the first event 21.0 ms 22.0 ms 23.0 ms", "between events 31.0 ms 32.0 ms 33.0 ms"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in\n%s", want, &text)
		}
	}
}
