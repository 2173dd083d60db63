package draft

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A question is asked in a terminal. An empty answer is the usual one.
type question struct {
	ask     string
	choices []string // to choose from by their number; others can be written, too
	usual   func(Draft) string
	set     func(*Draft, string) error
	skip    func(Draft) bool // of what was given: it is answered already
}

func questions() []question {
	return []question{
		{
			ask:  "The image that holds the app",
			skip: func(d Draft) bool { return d.Image != "" || d.Build != "" },
			set:  func(d *Draft, answer string) error { d.Image = answer; return nil }, usual: func(d Draft) string { return d.Image },
		}, {
			ask: "How is the app called?", choices: []string{"WSGI (Flask, Django)", "ASGI (FastAPI, Starlette)"},
			skip:  func(d Draft) bool { return d.WSGI != "" || d.ASGI != "" },
			usual: func(Draft) string { return "1" },
			set: func(d *Draft, answer string) error {
				switch strings.ToLower(answer) {
				case "1", "wsgi":
					d.WSGI = "app:app"
				case "2", "asgi":
					d.ASGI = "main:app"
				default:
					return errors.New("answer 1 or 2")
				}
				return nil
			},
		}, {
			ask: "Its callable, as the server takes it", choices: []string{"app:app", "wsgi:app", "main:app", "app:create_app()"},
			skip:  func(d Draft) bool { return d.WSGI != "" || d.ASGI != "" },
			usual: func(d Draft) string { return d.WSGI + d.ASGI },
			set: func(d *Draft, answer string) error {
				if !strings.Contains(answer, ":") {
					return errors.New("write MODULE:CALLABLE")
				}
				if d.ASGI != "" {
					d.ASGI = answer
				} else {
					d.WSGI = answer
				}
				return nil
			},
		}, {
			ask: "The port that it listens on", choices: []string{"8000", "5000", "8080"},
			skip: func(d Draft) bool { return d.Port != 0 }, usual: func(d Draft) string { return strconv.Itoa(d.Port) },
			set: func(d *Draft, answer string) error {
				n, err := strconv.Atoi(answer)
				if err != nil || n < 1 || n > 65535 {
					return errors.New("write a number from 1 to 65535")
				}
				d.Port = n
				return nil
			},
		}, {
			ask: "The path that is answered once it is ready", choices: []string{"/healthz", "/health", "/", "none: a connection is enough"},
			skip: func(d Draft) bool { return d.Ready != "" }, usual: func(Draft) string { return "none: a connection is enough" },
			set: func(d *Draft, answer string) error {
				if strings.HasPrefix(answer, "none") {
					return nil
				}
				d.Ready = answer
				return aPath(answer)
			},
		}, {
			ask: "The path of the requests", choices: []string{"/predict", "/"},
			skip: func(d Draft) bool { return d.Path != "" }, usual: func(d Draft) string { return d.Path },
			set: func(d *Draft, answer string) error { d.Path = answer; return aPath(answer) },
		},
	}
}

func aPath(text string) error {
	if !strings.HasPrefix(text, "/") {
		return errors.New("a path starts with /")
	}
	return nil
}

// Ask asks for what a draft does not say yet.
func Ask(in io.Reader, out io.Writer, d *Draft) error {
	lines := bufio.NewScanner(in)
	given := *d
	for _, q := range questions() {
		if q.skip(given) {
			continue
		}
		usual := q.usual(d.WithDefaults())
		for {
			fmt.Fprintf(out, "%s [%s]\n", q.ask, usual)
			for i, choice := range q.choices {
				fmt.Fprintf(out, "  %d  %s\n", i+1, choice)
			}
			fmt.Fprint(out, "> ")
			if !lines.Scan() {
				return errors.New("nothing was written: the answers ended")
			}
			answer := strings.TrimSpace(lines.Text())
			if answer == "" {
				answer = usual
			}
			if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(q.choices) {
				answer = q.chosen(n)
			}
			if err := q.set(d, answer); err != nil {
				fmt.Fprintln(out, "  ", err)
				continue
			}
			break
		}
	}
	return lines.Err()
}

// chosen is the answer that a number stands for.
func (q question) chosen(n int) string {
	if strings.Contains(q.choices[n-1], "(") && !strings.Contains(q.choices[n-1], "()") {
		return strconv.Itoa(n)
	}
	return q.choices[n-1]
}
