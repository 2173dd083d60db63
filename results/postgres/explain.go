package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"stackmeter/results"
)

// ErrName is the error of a URL that cannot lead to a store.
var ErrName = errors.New("it leads to no store")

// schemes are what the URL of a database begins with.
var schemes = []string{"postgres://", "postgresql://"}

// Is reports whether a store is named that is in a database, and no file.
func Is(store string) bool {
	for _, scheme := range schemes {
		if strings.HasPrefix(store, scheme) {
			return true
		}
	}
	return false
}

// secret reports whether a parameter of a URL is a password.
func secret(parameter string) bool { return strings.Contains(strings.ToLower(parameter), "password") }

// Name is the URL of a store without the passwords in it.
func Name(store string) string {
	parsed, err := url.Parse(store)
	if err != nil { // what is a password in it cannot be told
		scheme, _, _ := strings.Cut(store, "://")
		return scheme + "://…"
	}
	if parsed.User != nil {
		parsed.User = url.User(parsed.User.Username())
	}
	query := strings.Split(parsed.RawQuery, "&")
	var kept []string
	for _, pair := range query {
		if name, _, _ := strings.Cut(pair, "="); !secret(name) && pair != "" {
			kept = append(kept, pair)
		}
	}
	parsed.RawQuery, parsed.Fragment = strings.Join(kept, "&"), ""
	return parsed.String()
}

// secretsOf are the passwords in a URL.
func secretsOf(store string) []string {
	parsed, err := url.Parse(store)
	if err != nil {
		return []string{store}
	}
	var secrets []string
	if password, has := parsed.User.Password(); has {
		secrets = append(secrets, password)
		if _, escaped, has := strings.Cut(strings.TrimSuffix(parsed.User.String(), "@"), ":"); has {
			secrets = append(secrets, escaped)
		}
	}
	for name, values := range parsed.Query() {
		if secret(name) {
			secrets = append(secrets, values...)
		}
	}
	return secrets
}

// scrub takes passwords out of a text.
func scrub(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "…")
		}
	}
	return text
}

// reason is the innermost text of an error, without a URL.
func reason(err error) string {
	if refused, is := errors.AsType[*pgconn.ParseConfigError](err); is {
		if inner := errors.Unwrap(refused); inner != nil {
			return inner.Error()
		}
		return "the URL cannot be read"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// explain names the store, and says what to do where a user can do something. The text
// has no password in it.
func (s *Store) explain(err error) error {
	if err == nil {
		return nil
	}
	told := func(kind error, does string) error {
		text := scrub(reason(err), s.secrets)
		if does != "" {
			does = "; " + does
		}
		if kind == nil {
			return &explained{fmt.Sprintf("store %s: %s%s", s.name, text, does), []error{err}}
		}
		return &explained{fmt.Sprintf("store %s: %v%s", s.name, kind, does), []error{kind, err}}
	}
	said, _ := errors.AsType[*pgconn.PgError](err)
	code := ""
	if said != nil {
		code = said.Code
	}
	switch {
	case errors.Is(err, ErrName), errors.Is(err, results.ErrForeign):
		return told(nil, "name another with --db")
	case errors.Is(err, results.ErrNewer):
		return told(nil, "it was left as it is, use that version or name another with --db")
	case errors.Is(err, results.ErrRunning), errors.Is(err, errOlder):
		return told(nil, "")
	case code == "28P01" || code == "28000":
		return told(nil, "name the user in the URL, and give the password in PGPASSWORD or ~/.pgpass")
	case code == "3D000":
		return told(ErrName, fmt.Sprintf("%s: make the database first (createdb), or name another with --db", said.Message))
	case code == "42501":
		return told(nil, fmt.Sprintf("user %s may not do that: who owns the tables, or the schema, has to GRANT it; to read a store takes SELECT on its tables", s.user))
	case code == "25006":
		return told(nil, "the server only reads, as a standby does; name the primary with --db (target_session_attrs=read-write finds it among several)")
	case code == "53100":
		return told(nil, "the disk of the server is full; what was finished before is kept")
	case strings.HasPrefix(code, "XX00") && code != "XX000":
		return told(results.ErrDamaged, "the server says: "+said.Message)
	case passing(err):
		return told(nil, "see whether the server runs and can be reached; what was finished before is kept")
	}
	return told(nil, "")
}

// An explained is an error with a text of its own: those that it wraps may have a
// password in theirs.
type explained struct {
	text string
	of   []error
}

func (e *explained) Error() string   { return e.text }
func (e *explained) Unwrap() []error { return e.of }
