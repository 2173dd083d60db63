package notify

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/scenarios"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		line string
		want []string
		err  string
	}{
		{"", nil, ""}, {"  \t", nil, ""},
		{"sh", []string{"sh"}, ""},
		{`sh -c 'cat > "a b"; echo $X' ""`, []string{"sh", "-c", `cat > "a b"; echo $X`, ""}, ""},
		{`sh a"b c"d \e`, []string{"sh", "ab cd", `\e`}, ""},
		{"sh 'a", nil, "not closed"},
		{"no-such-program-here -x", nil, "sh -c"},
		{"'' x", nil, "sh -c"},
	} {
		got, err := Parse(test.line)
		if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %q, %v, want %q, %s", test.line, got, err, test.want, test.err)
		}
	}
}

func ended() (results.Run, []results.Record) {
	run := results.Run{ID: "night-7", Scenario: "night\nly", Outcome: results.OutcomeOK, Verdict: results.VerdictFailed, Planned: 1, Checks: []results.Check{
		{Threshold: "errors == 0", Cell: "flask/single/n1", Status: results.CheckOK}, {Threshold: "p99 < 1s", Cell: "flask/single/n1", Status: results.CheckBroken}}}
	return run, []results.Record{{Run: run.ID, Topology: scenarios.Topology{Name: "flask"}, Cell: scenarios.Cell{Repeat: 1}, Status: results.StatusOK}}
}

// TestCall: the command reads the verdict and is told of it in its environment.
func TestCall(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	run, records := ended()
	command := Command{"sh", "-c", `cat > "$0"; printf '%s|' "$STACKMETER_RUN" "$STACKMETER_SCENARIO" "$STACKMETER_STORE" "$STACKMETER_OUTCOME" "$STACKMETER_VERDICT" "$STACKMETER_SAID" > "$0.env"`, said}
	if err := command.Call(t.Context(), "s.db", run, records, Timeout); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Run, Standing, Verdict string
		Cells                  struct{ OK int }
		Broken                 []results.Check
	}
	data, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &got); err != nil || got.Run != "night-7" || got.Standing != "failed" || got.Cells.OK != 1 || len(got.Broken) != 1 || got.Broken[0].Threshold != "p99 < 1s" {
		t.Errorf("%v: %s", err, data)
	}
	env, err := os.ReadFile(said + ".env")
	if want := "night-7|night\\nly|s.db|ok|failed|" + got.Verdict + "|"; err != nil || string(env) != want || strings.Contains(got.Verdict, "\n") {
		t.Errorf("%q, %v, want %q", env, err, want)
	}
}

// TestCallFails: a command that fails, or hangs with all that it started, is said with
// what it wrote; one that reads nothing is fine.
func TestCallFails(t *testing.T) {
	run, records := ended()
	for line, want := range map[string]string{
		"false": "false: exit status 1", `sh -c 'echo no such channel; exit 3'`: "sh: exit status 3: no such channel", "true": "",
	} {
		command, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if err = command.Call(t.Context(), "s.db", run, records, Timeout); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	hangs := Command{"sh", "-c", "echo begun; sleep 600 & sleep 600"}
	if err := hangs.Call(t.Context(), "s.db", run, records, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "killed after 100ms") {
		t.Error(err)
	}
	if err := (Command{}).Call(t.Context(), "s.db", run, records, Timeout); err != nil {
		t.Error(err)
	}
}
