// Package notify calls a command of the user's when a run has ended.
package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// Timeout bounds how long the command may take.
const Timeout = time.Minute

// killGrace is how long the command's output is read after it was killed.
const killGrace = time.Second

// A Command is a program and its arguments.
type Command []string

// Parse reads a command line. Words are separated by blanks; within '…' and "…" blanks
// belong to the word. Nothing else is special, as no shell takes part: who wants one
// names it, as in sh -c '…'. The program has to be there. An empty text is no command.
func Parse(line string) (Command, error) {
	var command Command
	var word strings.Builder
	quote, open := rune(0), false
	end := func() {
		if open {
			command = append(command, word.String())
		}
		word.Reset()
		open = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, open = r, true
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			end()
		default:
			word.WriteRune(r)
			open = true
		}
	}
	end()
	if quote != 0 {
		return nil, fmt.Errorf("%s: a quotation mark %c is not closed", show.Quote(line), quote)
	}
	if len(command) == 0 {
		return nil, nil
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return nil, fmt.Errorf("%w; name a program, or a shell: sh -c '…'", err)
	}
	return command, nil
}

// Call runs the command for a run that has ended, with its verdict as JSON on standard
// input (exchange.WriteVerdictJSON) and in variables of its environment: STACKMETER_RUN,
// STACKMETER_SCENARIO, STACKMETER_STORE, STACKMETER_OUTCOME, STACKMETER_VERDICT, a word,
// and STACKMETER_SAID, with the reasons. The error says what became of the command
// and the end of what it wrote. It and what it started are killed when it takes longer
// than timeout, and when ctx is done. Without a command nothing is done.
func (c Command) Call(ctx context.Context, store string, run results.Run, records []results.Record, timeout time.Duration) error {
	if len(c) == 0 {
		return nil
	}
	var in, out bytes.Buffer
	if err := exchange.WriteVerdictJSON(&in, run, records); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	counts := run.Count(records)
	standing := words.StandingOf(run, &counts)
	cmd := exec.CommandContext(ctx, c[0], c[1:]...)
	cmd.Env = os.Environ()
	for name, value := range map[string]string{
		"RUN": run.ID, "SCENARIO": run.Scenario, "STORE": store, "OUTCOME": run.Outcome, "VERDICT": standing.Word, "SAID": standing.String(),
	} {
		cmd.Env = append(cmd.Env, "STACKMETER_"+name+"="+show.Line(value))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("killed after %v", timeout)
	}
	if said := show.Line(show.Shorten(strings.TrimSpace(out.String()), show.LineWidth)); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return fmt.Errorf("%s: %w", show.Line(c[0]), err)
}
