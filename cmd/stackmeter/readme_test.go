package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// readmeScenario writes the first blocks of YAML of README to a file: with the app that
// the script has and few requests, and with texts replaced by others, which have to be
// there: readme own-app.yaml 1 OLD NEW ...
func readmeScenario(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args)%2 != 0 {
		ts.Fatalf("usage: readme FILE BLOCKS [OLD NEW ...]")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	readme, err := os.ReadFile("../../README.md")
	ts.Check(err)
	var text string
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readme), n) {
		text += block[1]
	}
	replaced := append(args[2:], "image: registry.example/team/app:1.2       # or  build: {context: ./app}", "build: {context: ./app}",
		"requests: [100]", "requests: [4]", "repeats: 3", "repeats: 1")
	for i := 0; i < len(replaced); i += 2 {
		if !strings.Contains(text, replaced[i]) {
			ts.Fatalf("README's scenario has no %q", replaced[i])
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.NewReplacer(replaced...).Replace(text)), 0o644))
}

// answers starts a command that serves, reads a page from where it says that it
// serves, and interrupts it.
func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: answers COMMAND [ARGUMENT ...]")
	}
	program, err := exec.LookPath(args[0])
	ts.Check(err)
	cmd := exec.Command(program, args[1:]...)
	cmd.Dir = ts.Getenv("WORK")
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	response, err := http.Get(regexp.MustCompile(`http://[^ /]+/`).FindString(line))
	ts.Check(err)
	response.Body.Close()
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	ts.Check(cmd.Wait())
	if response.StatusCode != http.StatusOK {
		ts.Fatalf("%s answered %s", line, response.Status)
	}
}

// TestReadmeCommands: each command that README shows is in a script. The first line is
// how a machine is prepared; what it runs is in quickstart.txtar.
func TestReadmeCommands(t *testing.T) {
	const prepare = "stacks/images/prepare && go run ./cmd/"
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var run strings.Builder
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		run.Write(text)
	}
	found := 0
	for _, m := range regexp.MustCompile("(?m)^    (stackmeter .*)$|(?s:```sh\n(.*?)\n```)").FindAllStringSubmatch(string(readme), -1) {
		command := m[1] + m[2]
		found++
		command = strings.Replace(strings.TrimPrefix(command, prepare), " scenarios/", " $ROOT/scenarios/", 1)
		if !strings.Contains(run.String(), " "+command) {
			t.Errorf("no script runs %q", command)
		}
	}
	if found < 8 {
		t.Errorf("%d commands found in README", found)
	}
}
