// Package pgtest starts PostgreSQL servers for tests: each in a folder of its own, with
// a socket there, and gone with the test.
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// superuser is the name of the user who may do everything.
const superuser = "stackmeter"

// startTime bounds how long a server may take to answer.
const startTime = 60 * time.Second

// A Server is a server that is started, and started again after it was killed.
type Server struct {
	t         testing.TB
	folder    string // the socket's, and of data
	programs  string // the folder of initdb and postgres
	user      *syscall.SysProcAttr
	process   *exec.Cmd
	said      bytes.Buffer
	databases int
	mu        sync.Mutex
}

// Start starts a server with no tables, which ends with the test. Where PostgreSQL is
// not installed it skips the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, programs: programs(t), user: &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}}
	folder, err := os.MkdirTemp("", "stackmeter-postgres-") // a short name: a socket's path may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	s.folder = folder
	t.Cleanup(func() {
		if s.process != nil {
			s.Kill(syscall.SIGQUIT)
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	s.asOther()
	// Another order of text than that of bytes, as most databases have.
	initialise := s.command("initdb", "--pgdata", s.data(), "--username", superuser, "--auth", "trust", "--encoding", "UTF8",
		"--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en-US", "--no-sync", "--no-instructions")
	if out, err := initialise.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.Restart()
	return s
}

// programs is the folder of the server's programs. Debian has one for each version.
func programs(t testing.TB) string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		t.Fatal(err)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Skip("needs PostgreSQL's server: apt-get install postgresql")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1])
}

// version is that of the folder /usr/lib/postgresql/17/bin, and 0 of another one.
func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// asOther has the server run as the user that Debian has for it, if this is root, as
// whom it does not run.
func (s *Server) asOther() {
	if os.Geteuid() != 0 {
		return
	}
	other, err := user.Lookup("postgres")
	if err != nil {
		s.t.Skip("needs a user postgres: as root the server does not run")
	}
	uid, _ := strconv.Atoi(other.Uid)
	gid, _ := strconv.Atoi(other.Gid)
	s.user.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(s.folder, uid, gid); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(s.folder, 0o755); err != nil { // for other users to connect
		s.t.Fatal(err)
	}
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

// Folder is where the socket is.
func (s *Server) Folder() string { return s.folder }

// Socket is the name of the socket in a folder.
const Socket = ".s.PGSQL.5432"

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.programs, program), args...)
	cmd.Dir, cmd.SysProcAttr = s.folder, s.user
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	return cmd
}

// Restart starts the server, which does not run, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.said.Reset()
	// A test ends servers, and no machine: what is in the page cache is safe.
	s.process = s.command("postgres", "-D", s.data(), "-k", s.folder, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50")
	s.process.Stdout, s.process.Stderr = &s.said, &s.said
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), s.URL("postgres", superuser))
		if err == nil {
			_ = conn.Close(context.Background())
			return
		}
		if time.Since(began) > startTime {
			_ = s.process.Process.Kill()
			_ = s.process.Wait()
			s.t.Fatalf("the server does not answer: %v\n%s", err, s.said.String())
		}
	}
}

// Kill sends the server a signal that ends it, and waits for that: SIGQUIT as a crash
// would, SIGINT in order.
func (s *Server) Kill(with syscall.Signal) {
	_ = s.process.Process.Signal(with)
	_ = s.process.Wait()
	s.process = nil
}

// URL leads to a database as a user.
func (s *Server) URL(database, user string) string { return URLAt(s.folder, database, user) }

// URLAt leads to a database through the socket in a folder.
func URLAt(folder, database, user string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {folder}, "user": {user}}.Encode()
}

// Database makes an empty database and returns its URL.
func (s *Server) Database() string {
	s.t.Helper()
	s.mu.Lock()
	s.databases++
	name := fmt.Sprintf("db%d", s.databases)
	s.mu.Unlock()
	s.Exec("postgres", "CREATE DATABASE "+name)
	return s.URL(name, superuser)
}

// Exec executes statements in a database, which may be given by its URL, as superuser.
func (s *Server) Exec(database string, statements ...string) {
	s.t.Helper()
	conn := s.Connect(database)
	defer conn.Close(context.Background())
	for _, statement := range statements {
		if _, err := conn.Exec(context.Background(), statement); err != nil {
			s.t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Connect connects to a database, which may be given by its URL, as superuser.
func (s *Server) Connect(database string) *pgx.Conn {
	s.t.Helper()
	if parsed, err := url.Parse(database); err == nil && parsed.Scheme == "" {
		database = s.URL(database, superuser)
	}
	conn, err := pgx.Connect(context.Background(), database)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}
