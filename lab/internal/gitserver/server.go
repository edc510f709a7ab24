// Package gitserver is the lab's forge: Git over smart HTTP with push, and a
// signed webhook after each push. In come requests below /NAME.git/, which
// `git http-backend` answers; out go push events in GitHub's form. On 127.0.0.1
// every account of the machine may read. Only the server's own and root may
// push, since what is pushed may be run, unless a repository has a password:
// then whoever knows it may do both.
package gitserver

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"strings"
	"sync"
)

const (
	// maxBody is how large a push may be.
	maxBody = 1 << 30
	// receivePack is the service of Git that takes pushes.
	receivePack = "git-receive-pack"
)

// Server serves the repositories below a Root. Close it to end the deliveries
// under way.
type Server struct {
	root    Root
	url     string
	log     *slog.Logger
	command string
	hooks   *deliverer
	// pushing has a *sync.Mutex for each repository: what a push changed is
	// seen by comparing references before and after it.
	pushing sync.Map
}

// New returns the handler of the repositories below root, which clients reach
// at url.
func New(root Root, url string, log *slog.Logger) (*Server, error) {
	command, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("git is not installed: %w", err)
	}
	return &Server{root: root, url: url, log: log, command: command, hooks: newDeliverer(log)}, nil
}

// Close gives up the deliveries under way.
func (s *Server) Close() { s.hooks.close() }

// ServeHTTP answers Git clients.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), ".git/")
	if !ok || !s.root.Exists(name) {
		http.NotFound(w, r)
		return
	}
	settings, err := s.root.Settings(name)
	if err != nil {
		s.log.Error("settings", "repository", name, "err", err)
		http.Error(w, "settings cannot be read", http.StatusInternalServerError)
		return
	}
	user, allowed := settings.authenticate(r)
	if !allowed {
		w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
		return
	}
	push := strings.HasSuffix(rest, receivePack)
	// Git begins a push by asking for references, and shows why that is refused.
	if settings.open() && (push || r.URL.Query().Get("service") == receivePack) {
		if err := admit(r); err != nil {
			s.log.Warn("push refused", "repository", name, "err", err)
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
	}
	if err := spool(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	if push {
		s.servePush(w, r, name, user, settings.Hooks)
		return
	}
	s.backend(w, r, user)
}

// open reports whether everybody may read.
func (s Settings) open() bool { return s.User == "" && s.Password == "" }

// authenticate returns who asks.
func (s Settings) authenticate(r *http.Request) (user string, ok bool) {
	user, password, given := r.BasicAuth()
	if s.open() {
		if !given || user == "" {
			user = "lab"
		}
		return user, true
	}
	sameUser := subtle.ConstantTimeCompare([]byte(user), []byte(s.User))
	samePassword := subtle.ConstantTimeCompare([]byte(password), []byte(s.Password))
	return user, given && sameUser&samePassword == 1
}

// spool gives the request a length: Git sends what is larger than 1 MiB in
// chunks, and CGI (RFC 3875) has no such thing.
func spool(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.ContentLength >= 0 {
		return nil
	}
	file, err := os.CreateTemp("", "lab-push-")
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	// The open file is all that is needed; nothing stays if we are killed.
	err = os.Remove(file.Name())
	n, copyErr := io.Copy(file, r.Body)
	_, seekErr := file.Seek(0, io.SeekStart)
	if err := errors.Join(err, copyErr, seekErr); err != nil {
		file.Close()
		return fmt.Errorf("spool: %w", err)
	}
	r.Body, r.ContentLength, r.TransferEncoding = file, n, nil
	return nil
}

func (s *Server) backend(w http.ResponseWriter, r *http.Request, user string) {
	defer r.Body.Close()
	h := cgi.Handler{
		Path: s.command, Args: []string{"http-backend"}, Dir: string(s.root),
		Env: append([]string{
			"GIT_PROJECT_ROOT=" + string(s.root), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"), "REMOTE_USER=" + user,
		}, environment...),
		Stderr: &logWriter{s.log},
	}
	h.ServeHTTP(w, r)
}

// servePush lets the backend answer, then announces what has changed.
func (s *Server) servePush(w http.ResponseWriter, r *http.Request, name, user string, hooks []Hook) {
	if len(hooks) == 0 {
		s.backend(w, r, user)
		return
	}
	lock, _ := s.pushing.LoadOrStore(name, &sync.Mutex{})
	mu := lock.(*sync.Mutex)
	mu.Lock()
	defer mu.Unlock()
	// The client may be gone by now; its push has happened all the same.
	ctx := context.WithoutCancel(r.Context())
	path, err := s.root.path(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	before, err := references(ctx, path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.backend(w, r, user)
	events, err := pushEvents(ctx, repository{name: name, path: path, url: s.url + "/" + name}, before, user)
	if err != nil {
		s.log.Error("push event", "repository", name, "err", err)
		return
	}
	for _, e := range events {
		for _, h := range hooks {
			s.hooks.deliver(h, e)
		}
	}
}

// logWriter turns what Git prints into log lines.
type logWriter struct{ log *slog.Logger }

func (l *logWriter) Write(p []byte) (int, error) {
	l.log.Info("git", "stderr", strings.TrimSpace(string(p)))
	return len(p), nil
}
