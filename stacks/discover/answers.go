package discover

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// lives matches paths by which apps say that they live or are ready.
var lives = regexp.MustCompile(`(?i)(^|[/_.-])(health|healthz|healthcheck|health_check|alive|live|livez|liveness|ready|readyz|readiness|ping|status|heartbeat|up)$`)

// Awake waits until the app answers anything at all: what listens may still be loading, and
// a proxy listens before the app does.
func Awake(ctx context.Context, base string, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		status, said := answer(ctx, base, Request{Path: "/"})
		if status != 0 && status != http.StatusBadGateway && status != http.StatusGatewayTimeout {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it answers nothing within %v; give --ready-timeout, or see what it prints: GET /: %s", patience, said)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Ready is the path by which the app says that it is ready, and how it was found; empty if
// none that is known of it answers, nor any of the usual ones.
func Ready(ctx context.Context, base string, in Inside) (path, how string) {
	var tries []try
	if in.Health != "" {
		tries = append(tries, try{Request{Path: in.Health}, "the image's health check asks it"})
	}
	for _, r := range in.Routes {
		if r.takes(http.MethodGet) && lives.MatchString(r.Path) {
			tries = append(tries, try{Request{Path: r.Path}, "its code has it"})
		}
	}
	for _, path := range []string{"/healthz", "/health", "/readyz", "/ready", "/livez", "/ping", "/api/health", "/status", "/"} {
		tries = append(tries, try{Request{Path: path}, "it is a usual one"})
	}
	for _, one := range tries {
		if status, _ := answer(ctx, base, one.request); good(status) {
			return one.request.Path, one.how + ", and is answered with 2xx"
		}
	}
	return "", ""
}

// An Answered is a request that the app answers with 2xx.
type Answered struct {
	Request Request
	Status  int
	How     string // it was found, in words
}

// Find finds a request that the app answers, from what is given of it and what is known of
// the app. Its error has what was tried.
func Find(ctx context.Context, base string, given Request, in Inside) (Answered, error) {
	var tried []string
	for _, one := range slices.Concat(described(ctx, base, given), in.written(given), guessed(given, in)) {
		status, said := answer(ctx, base, one.request)
		if good(status) {
			return Answered{one.request, status, one.how}, nil
		}
		if ctx.Err() != nil {
			return Answered{}, context.Cause(ctx)
		}
		if text := fmt.Sprintf("%s: %s", one.request, said); !slices.Contains(tried, text) {
			tried = append(tried, text)
		}
	}
	const most = 6
	if len(tried) > most {
		tried = append(tried[:most], fmt.Sprintf("and %d more", len(tried)-most))
	}
	has := ""
	if routes := in.routes(); len(routes) > 0 {
		has = "\nIts code has " + strings.Join(routes, ", ") + "."
	}
	return Answered{}, fmt.Errorf("no request was found that the app answers with 2xx; give --path, and what it takes: --file photo.jpg --field file, or --json '{…}'.%s\nTried:\n  %s", has, strings.Join(tried, "\n  "))
}

// routes lists what the code answers, without what says that it lives.
func (in Inside) routes() (list []string) {
	for _, r := range in.Routes {
		if text := strings.Join(r.Methods, ",") + " " + r.Path; !lives.MatchString(r.Path) && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	const most = 8
	if len(list) > most {
		list = append(list[:most], fmt.Sprintf("%d more", len(list)-most))
	}
	return list
}

// A try is a request that may be the one.
type try struct {
	request Request
	how     string
}

// written are requests to the routes that the code has, where no path is given.
func (in Inside) written(given Request) (all []try) {
	if given.Path != "" {
		return nil
	}
	for _, r := range in.Routes {
		if strings.ContainsAny(r.Path, "<{") || lives.MatchString(r.Path) || strings.HasPrefix(r.Path, "/static") {
			continue
		}
		for _, method := range r.Methods {
			one := given
			one.Path, one.Method = r.Path, cmp.Or(given.Method, method)
			if !strings.EqualFold(one.Method, method) || (method == http.MethodGet) != (given.Data == nil) {
				continue
			}
			for _, field := range in.fields(given) {
				one.Field = field
				all = append(all, try{one, "its code has the route, and it answers with 2xx"})
			}
		}
	}
	return all
}

// fields are the names under which a file may be sent; empty is as the body.
func (in Inside) fields(given Request) []string {
	if given.Field != "" || given.Data == nil || given.JSON {
		return []string{given.Field}
	}
	return append(slices.Clone(in.Fields), "file", "image", "photo", "data", "")
}

// guessed are requests by usual names, where nothing describes them.
func guessed(given Request, in Inside) []try {
	paths := []string{given.Path}
	if given.Path == "" {
		if paths = []string{"/predict", "/classify", "/infer", "/inference", "/invocations", "/api/predict", "/v1/predict", "/upload", "/"}; given.Data == nil {
			paths = []string{"/"}
		}
	}
	var all []try
	for _, path := range paths {
		for _, field := range in.fields(given) {
			r := given
			r.Path, r.Field = path, field
			how := "it answers with 2xx"
			if given.Path != "" {
				how = "the path was given, and it answers with 2xx"
			}
			if field != "" && given.Field == "" && slices.Contains(in.Fields, field) {
				how += "; its code reads the field " + field
			}
			all = append(all, try{r, how})
		}
	}
	return all
}

// A Pace is how fast an app answers a number of clients at once.
type Pace struct {
	Pool int
	Rate float64 // good answers per second
}

// Paces sends the request from 1, 2, 4, … clients at once, each for so long, until more
// of them get less than a tenth more answered, or there are most of them. A client that
// waits for one answer is not cut short.
func Paces(ctx context.Context, base string, r Request, each time.Duration, most int) ([]Pace, error) {
	var all []Pace
	for pool := 1; pool <= most; pool *= 2 {
		rate, err := pace(ctx, base, r, each, pool)
		if err != nil {
			return all, err
		}
		all = append(all, Pace{pool, rate})
		if n := len(all); n > 1 && all[n-1].Rate < 1.1*all[n-2].Rate {
			break
		}
	}
	return all, nil
}

func pace(ctx context.Context, base string, r Request, each time.Duration, pool int) (float64, error) {
	var mu sync.Mutex
	var answered int
	var failed error
	began := time.Now()
	var clients sync.WaitGroup
	for range pool {
		clients.Go(func() {
			for time.Since(began) < each {
				status, said := answer(ctx, base, r)
				mu.Lock()
				if good(status) {
					answered++
				} else {
					failed = fmt.Errorf("%s, from %d clients at once: %s", r, pool, said)
				}
				over := failed != nil
				mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	clients.Wait()
	if err := cmp.Or(context.Cause(ctx), failed); err != nil {
		return 0, err
	}
	return float64(answered) / time.Since(began).Seconds(), nil
}

// String is the request in a few words.
func (r Request) String() string {
	text := r.method() + " " + r.Path
	switch {
	case r.JSON:
		text += " with JSON"
	case r.Field != "":
		text += " with " + filepath.Base(r.File) + " as field " + r.Field
	case r.Data != nil:
		text += " with " + filepath.Base(r.File) + " as its body"
	}
	return text
}
