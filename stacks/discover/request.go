package discover

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path/filepath"
	"strings"
	"time"
)

// A Request is what an app is asked.
type Request struct {
	Method string // empty: POST with content, and GET without
	Path   string
	Field  string // of a form that has the file; empty: the file is the body
	File   string // its name, of whose end the content's type follows
	Data   []byte // the file's content, or JSON
	JSON   bool
}

func (r Request) method() string {
	return cmp.Or(r.Method, map[bool]string{true: http.MethodPost, false: http.MethodGet}[r.Data != nil])
}

// make makes the request for a server.
func (r Request) make(ctx context.Context, base string) (*http.Request, error) {
	var body bytes.Buffer
	content := ""
	switch {
	case r.JSON:
		body.Write(r.Data)
		content = "application/json"
	case r.Field != "":
		form := multipart.NewWriter(&body)
		head := textproto.MIMEHeader{}
		head.Set("Content-Disposition", fmt.Sprintf("form-data; name=%q; filename=%q", r.Field, filepath.Base(r.File)))
		head.Set("Content-Type", http.DetectContentType(r.Data))
		part, _ := form.CreatePart(head) // into memory
		_, _ = part.Write(r.Data)
		_ = form.Close()
		content = form.FormDataContentType()
	case r.Data != nil:
		body.Write(r.Data)
		content = http.DetectContentType(r.Data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method(), base+r.Path, &body)
	if err == nil && content != "" {
		req.Header.Set("Content-Type", content)
	}
	return req, err
}

// answerLimit is how long an answer may take.
const answerLimit = 30 * time.Second

// client follows no redirections: a benchmark's client does not either.
var client = &http.Client{
	Timeout:       answerLimit,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
}

// ask sends a request and returns the answer's status and content.
func ask(ctx context.Context, base string, r Request) (status int, body []byte, err error) {
	req, err := r.make(ctx, base)
	if err != nil {
		return 0, nil, err
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(io.LimitReader(answer.Body, 4<<20))
	return answer.StatusCode, body, err
}

func good(status int) bool { return status/100 == 2 }

// answer asks, and says what the answer was. The status is 0 where there was none.
func answer(ctx context.Context, base string, r Request) (status int, said string) {
	status, body, err := ask(ctx, base, r)
	if err != nil {
		return 0, err.Error()
	}
	text := strings.Join(strings.Fields(string(body[:min(len(body), 120)])), " ")
	return status, fmt.Sprintf("status %d: %s", status, text)
}
