package orchestrator_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load/native"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks/existing"
)

// TestKeepCutShort: a cell that the run's end cuts short is recorded where that
// is asked for, and leaves nothing where it is not.
func TestKeepCutShort(t *testing.T) {
	for _, keep := range []bool{true, false} {
		const answered = 3
		ctx, cancel := context.WithCancelCause(t.Context())
		end := errors.New("the user's end")
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if asked.Add(1) > answered {
				cancel(end)
				<-r.Context().Done()
			}
		}))
		defer server.Close()
		loader := scenarios.Loader{Server: &scenarios.Topology{Name: "there", Server: scenarios.ServerExisting}}
		s, err := loader.ParseSettings("test", []scenarios.Setting{
			{Path: "matrix.requests", Value: "10"}, {Path: "matrix.client", Value: "single"},
			{Path: "warmup", Value: "0"}, {Path: "resources.gpu.mode", Value: "off"},
		})
		if err != nil {
			t.Fatal(err)
		}
		store := openStore(t)
		if err := store.Begin(t.Context(), results.Run{ID: "run"}); err != nil {
			t.Fatal(err)
		}
		loop := orchestrator.Orchestrator{
			Runtime: &existing.Runtime{URL: existing.At(server.URL)}, Client: &native.Client{},
			Recorder: store, KeepCutShort: keep,
		}
		if err := loop.Run(ctx, "run", s.Plan()); !errors.Is(err, end) {
			t.Errorf("the run ended with %v", err)
		}
		_, records, err := store.Run(t.Context(), "run")
		if err != nil {
			t.Fatal(err)
		}
		if !keep {
			if len(records) > 0 {
				t.Errorf("recorded: %+v", records)
			}
			continue
		}
		if len(records) != 1 {
			t.Fatalf("%d records", len(records))
		}
		r := records[0]
		if r.Status != results.StatusFailed || r.Duration != nil || r.Replies != answered || r.Latency == nil || !strings.Contains(r.Reason, "3 of 10 requests finished") {
			t.Errorf("recorded: %s, %s, %d replies", r.Status, r.Reason, r.Replies)
		}
	}
}
