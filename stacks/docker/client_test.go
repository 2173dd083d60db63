package docker

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// runningStack is a stack of the test application that answers.
func runningStack(t *testing.T, r *Runtime, run string) stacks.Stack {
	t.Helper()
	return running(t, r, run, stackstest.Spec(t, run, stackstest.Flask, nil))
}

func running(t *testing.T, r *Runtime, run string, spec stacks.Spec) stacks.Stack {
	t.Helper()
	if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
		t.Fatal(err)
	}
	stack, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if left, err := r.leftovers(context.Background(), run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	if err := stacks.WaitReady(t.Context(), spec, stack); err != nil {
		t.Fatal(err)
	}
	return stack
}

// fetch asks the address that it reads from its input and says what came.
const fetch = `import requests, sys
r = requests.get(sys.stdin.readline().strip() + "/healthz")
print(r.status_code, sys.stdin.read())
print("last words", file=sys.stderr)
sys.exit(3)`

func TestRunClient(t *testing.T) {
	for _, publish := range []bool{false, true} {
		name := "direct"
		if publish {
			name = "published"
		}
		t.Run(name, func(t *testing.T) {
			stackstest.NoLeaks(t)
			r := engine(t)
			r.Publish = publish
			run := "test-client-" + filepath.Base(t.TempDir())
			stack := runningStack(t, r, run)
			before, err := r.leftovers(t.Context(), run)
			if err != nil {
				t.Fatal(err)
			}
			c, err := r.RunClient(t.Context(), stack.URL(), []string{"python3", "-I", "-c", fetch})
			if err != nil {
				t.Fatal(err)
			}
			if during, err := r.leftovers(t.Context(), run); err != nil || len(during) != len(before)+1 {
				t.Errorf("the client carries the run's label: %v beside %v, %v", during, before, err)
			}
			if _, err := io.WriteString(c, c.URL()+"\nand the rest"); err != nil {
				t.Error(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			said, err := io.ReadAll(c)
			if string(said) != "200 and the rest\n" || err != nil {
				t.Errorf("it said %q, %v", said, err)
			}
			if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "status 3") || !strings.Contains(err.Error(), "last words") {
				t.Errorf("Wait: %v", err)
			}
			if after, err := r.leftovers(t.Context(), run); err != nil || !slices.Equal(after, before) {
				t.Errorf("left: %v, before: %v, %v", after, before, err)
			}
			if facts, err := stack.Inspect(t.Context()); err != nil || len(facts.Services) != 1 {
				t.Errorf("the client is no service of the stack: %+v, %v", facts.Services, err)
			}
		})
	}
}

func TestRunClientRestrictions(t *testing.T) {
	r := engine(t)
	stack := runningStack(t, r, "test-client-restrictions-"+filepath.Base(t.TempDir()))
	c, err := r.RunClient(t.Context(), stack.URL(), []string{"sh", "-c", "id -u; grep CapEff /proc/self/status; touch /tmp/x || echo read-only"})
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(c)
	if got := strings.Join(strings.Fields(string(said)), " "); got != "65534 CapEff: 0000000000000000 read-only" {
		t.Errorf("it said %q", got)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRunClientKilled(t *testing.T) {
	stackstest.NoLeaks(t)
	r := engine(t)
	run := "test-client-killed-" + filepath.Base(t.TempDir())
	stack := runningStack(t, r, run)
	waiting := []string{"sh", "-c", "echo up; exec sleep 600"}
	t.Run("kill", func(t *testing.T) {
		c, err := r.RunClient(t.Context(), stack.URL(), waiting)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, c, "up\n")
		c.Kill()
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "status 137") {
			t.Errorf("Wait: %v", err)
		}
		c.Kill()
	})
	t.Run("the stack is removed", func(t *testing.T) {
		c, err := r.RunClient(t.Context(), stack.URL(), waiting)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, c, "up\n")
		if err := stack.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err == nil {
			t.Error("nothing is said about a client that was removed")
		}
	})
	t.Run("no such stack", func(t *testing.T) {
		if _, err := r.RunClient(t.Context(), "http://192.0.2.1:8000", waiting); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
			t.Errorf("RunClient: %v", err)
		}
	})
	t.Run("no such command", func(t *testing.T) {
		stack := runningStack(t, r, run)
		c, err := r.RunClient(t.Context(), stack.URL(), []string{"/nonexistent"})
		if err == nil { // the engine has started its init process, which then notices
			_, _ = io.Copy(io.Discard, c)
			err = c.Wait()
		}
		if err == nil || !strings.Contains(err.Error(), "/nonexistent") {
			t.Errorf("nothing is said about a command that is not there: %v", err)
		}
	})
}
