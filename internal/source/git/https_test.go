package git_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

// backend serves the repositories below dir as git http-backend does.
func backend(t testing.TB, dir string) http.Handler {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
		InheritEnv: []string{"PATH"},
		Stderr:     io.Discard,
	}
}

// guard lets only one user in.
func guard(user, password string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			http.Error(w, "go away", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func serveTLS(t testing.TB, h http.Handler) (*httptest.Server, []byte) {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server, ca
}

// readable tells whether a remote can be fetched with these credentials.
func readable(t testing.TB, url string, c git.Credentials) error {
	t.Helper()
	m, err := newStore(t, git.Options{}).Open(git.Remote{URL: url, Credentials: c, Timeout: 5 * time.Minute})
	if err != nil {
		return err
	}
	_, err = m.Fetch(t.Context())
	return err
}

func TestHTTPSWithPassword(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	password := `p@ss:w'o"r$d %20\`
	server, ca := serveTLS(t, guard("ada", password, backend(t, filepath.Dir(u.dir))))
	url := server.URL + "/upstream.git"
	good := git.Credentials{Username: "ada", Password: password, CA: ca}
	if err := readable(t, url, good); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	named := strings.Replace(url, "https://", "https://ada@", 1)
	if err := readable(t, named, git.Credentials{Password: password, CA: ca}); err != nil {
		t.Errorf("with the user name in the URL: %v", err)
	}
	bad := good
	bad.Password = "wrong-secret"
	err := readable(t, url, bad)
	wantError(t, err, mizzen.Forbidden, "repository "+url, "the server refuses the credentials", "check the Secret")
	if strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("the password is in the error: %v", err)
	}
	wantError(t, readable(t, url, git.Credentials{CA: ca}), mizzen.Forbidden, "the server refuses the credentials")
	stranger := good
	stranger.CA = nil
	wantError(t, readable(t, url, stranger), mizzen.Forbidden,
		"the server's certificate is not trusted", "put the authority that signed it into caFile")
	wantError(t, readable(t, server.URL+"/none.git", good), mizzen.NotFound, "there is no such repository")
}

func TestHTTPSWithToken(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	server, ca := serveTLS(t, guard("x-access-token", "tok-123", backend(t, filepath.Dir(u.dir))))
	if err := readable(t, server.URL+"/upstream.git", git.Credentials{Token: "tok-123", CA: ca}); err != nil {
		t.Error(err)
	}
}

func TestCredentialsRotate(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	var password atomic.Value
	password.Store("old")
	server, ca := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guard("ada", password.Load().(string), backend(t, filepath.Dir(u.dir))).ServeHTTP(w, r)
	}))
	store := newStore(t, git.Options{})
	remote := git.Remote{
		URL: server.URL + "/upstream.git", Identity: "shop/forge",
		Credentials: git.Credentials{Username: "ada", Password: "old", CA: ca},
	}
	m := open(t, store, remote)
	fetch(t, m)
	password.Store("new")
	_, err := m.Fetch(t.Context())
	wantError(t, err, mizzen.Forbidden)
	remote.Credentials.Password = "new"
	if again := open(t, store, remote); again != m {
		t.Error("a rotated password makes another mirror")
	}
	fetch(t, m)
	remote.Identity = ""
	if other := open(t, store, remote); other == m {
		t.Error("somebody else's credentials get the same mirror")
	}
}

// TestServerEchoesSecret: what a server says back is shown without the secret
// in it.
func TestServerEchoesSecret(t *testing.T) {
	server, ca := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		_, p, _ := r.BasicAuth()
		fmt.Fprintf(w, "you sent %s, that is \x1b[31m%s\n", r.Header.Get("Authorization"), p)
	}))
	err := readable(t, server.URL+"/x.git", git.Credentials{Username: "ada", Password: "sesame", CA: ca})
	wantError(t, err, mizzen.Forbidden)
	for _, secret := range []string{"sesame", base64.StdEncoding.EncodeToString([]byte("ada:sesame")), "\x1b"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds %q: %v", secret, err)
		}
	}
}

func TestRedirectGetsNoCredentials(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	var leaked atomic.Bool
	inner := backend(t, filepath.Dir(u.dir))
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		guard("ada", "sesame", inner).ServeHTTP(w, r)
	}))
	t.Cleanup(thief.Close)
	front := httptest.NewServer(guard("ada", "sesame", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.RequestURI(), http.StatusFound)
	})))
	t.Cleanup(front.Close)
	if err := readable(t, front.URL+"/upstream.git", git.Credentials{Username: "ada", Password: "sesame"}); err == nil {
		t.Error("the redirect was followed with credentials")
	}
	if leaked.Load() {
		t.Error("another host got the password")
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String() + "/x.git"
	_ = l.Close()
	wantError(t, readable(t, url, git.Credentials{}), mizzen.Unreachable,
		"repository "+url, "the server does not answer as it should", "check that it is up")
	wantError(t, readable(t, "https://no-such-host.invalid/x.git", git.Credentials{}), mizzen.Unreachable,
		"the server's name cannot be resolved", "check the URL")
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "bad gateway", http.StatusBadGateway)
	}))
	t.Cleanup(broken.Close)
	wantError(t, readable(t, broken.URL+"/x.git", git.Credentials{}), mizzen.Unreachable, "502")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<html>not a repository</html>")
	}))
	t.Cleanup(web.Close)
	wantError(t, readable(t, web.URL+"/x.git", git.Credentials{}), mizzen.NotFound, "what answers there is no Git repository")
}

// TestHangUpIsSaidAlike: a fetch asks several times, and at which of them the
// server goes away, and how, is chance.
func TestHangUpIsSaidAlike(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	inner := backend(t, filepath.Dir(u.dir))
	const want = "the server does not answer as it should (the server hung up)"
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, linger := range []int{-1, 0} { // the end of a connection, and its reset
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != method {
					inner.ServeHTTP(w, r)
					return
				}
				c, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.(*net.TCPConn).SetLinger(linger)
				_ = c.Close()
			}))
			t.Cleanup(server.Close)
			err := readable(t, server.URL+"/upstream.git", git.Credentials{})
			wantError(t, err, mizzen.Unreachable, want)
		}
	}
}

// TestLoginPageDeletesNothing: a page in the place of the repository, or an
// empty answer, is not a repository whose branches are all gone.
func TestLoginPageDeletesNothing(t *testing.T) {
	u := newUpstream(t)
	first := u.push("a", "1")
	inner := backend(t, filepath.Dir(u.dir))
	var page atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := page.Load(); p != nil {
			fmt.Fprint(w, *p)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	m := open(t, newStore(t, git.Options{}), git.Remote{URL: server.URL + "/upstream.git"})
	fetch(t, m)
	for _, p := range []string{"<html>\nplease log in\n</html>\n", ""} {
		page.Store(&p)
		_, err := m.Fetch(t.Context())
		wantError(t, err, mizzen.NotFound)
		if got := resolve(t, m, "main").ID; got != first {
			t.Errorf("main is at %s", got)
		}
	}
	page.Store(nil)
	u.git("symbolic-ref", "HEAD", "refs/heads/gone")
	u.git("branch", "other", first)
	if !fetch(t, m).Changed {
		t.Error("a new branch beside a HEAD that points nowhere is not seen")
	}
}

func TestTimeoutEndsAllProcesses(t *testing.T) {
	hang := make(chan struct{})
	var asked atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Store(true)
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hang) })
	m := open(t, newStore(t, git.Options{}), git.Remote{URL: server.URL + "/slow.git", Timeout: 5 * time.Second})
	_, err := m.Fetch(t.Context())
	wantError(t, err, mizzen.Timeout, "the fetch took longer than 5s", "raise the timeout")
	if !asked.Load() {
		t.Error("the server was never asked")
	}
	eventually(t, "the transport's process ends", func() bool { return !running(t, server.URL) })
}

// running tells whether a process has text on its command line.
func running(t testing.TB, text string) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && strings.Contains(string(data), text) {
			return true
		}
	}
	return false
}

// TestSecretsStayHidden looks at every process and file while a fetch hangs.
func TestSecretsStayHidden(t *testing.T) {
	secret := "sesame-" + fmt.Sprint(time.Now().UnixNano())
	hang := make(chan struct{})
	asked := make(chan struct{}, 10)
	server, ca := serveTLS(t, guard("ada", secret, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})))
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := filepath.Join(t.TempDir(), "state")
	m := open(t, openStore(t, dir, git.Options{}), git.Remote{
		URL: server.URL + "/x.git", Credentials: git.Credentials{Username: "ada", Password: secret, CA: ca},
	})
	done := make(chan error)
	go func() {
		_, err := m.Fetch(t.Context())
		done <- err
	}()
	<-asked
	if running(t, secret) {
		t.Error("the password is on a command line")
	}
	for _, root := range []string{temp, dir} {
		if file := holding(t, root, secret); file != "" {
			t.Errorf("the password is in %s", file)
		}
	}
	close(hang)
	if err := <-done; err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("the fetch ends with %v", err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) != 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

// holding returns a file below root that has text in it.
func holding(t testing.TB, root, text string) (found string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // a file that vanishes holds nothing
		}
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), text) {
			found = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
