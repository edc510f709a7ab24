package gitserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// forge is a server with a repository "web", and a clone of it.
type forge struct {
	root  Root
	url   string
	clone string
}

func newForge(t *testing.T, settings Settings) forge {
	t.Helper()
	root := Root(t.TempDir())
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s, err := New(root, server.URL, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	handler = s
	files := t.TempDir()
	write(t, filepath.Join(files, "README.md"), "web\n")
	first := &Commit{Dir: files, Author: "Ada <ada@example.test>", Date: time.Unix(1e9, 0), Message: "Start"}
	if err := root.Create(t.Context(), "web", settings, first); err != nil {
		t.Fatal(err)
	}
	return forge{root: root, url: server.URL, clone: t.TempDir()}
}

func (f forge) git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := f.try(t, args...)
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

func (f forge) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = f.clone
	cmd.Env = append(append(cleanEnvironment(), environment...), "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.test", "GIT_AUTHOR_DATE=1000000000 +0000",
		"GIT_COMMITTER_NAME=Bo", "GIT_COMMITTER_EMAIL=bo@example.test", "GIT_COMMITTER_DATE=1000000001 +0000")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPushOfEverySize(t *testing.T) {
	f := newForge(t, Settings{})
	f.git(t, "clone", "--quiet", f.url+"/web.git", ".")
	// Above http.postBuffer (1 MiB) Git sends the push in chunks.
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 3 << 20} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(random.Uint32())
		}
		write(t, filepath.Join(f.clone, "blob"), string(content))
		f.git(t, "add", "--all")
		f.git(t, "commit", "--quiet", "-m", fmt.Sprintf("%d bytes", size))
		f.git(t, "push", "--quiet")
		head := f.git(t, "rev-parse", "HEAD")
		if got := f.git(t, "ls-remote", f.url+"/web.git", "main"); !strings.HasPrefix(got, head) {
			t.Errorf("after a push of %d bytes the server has %s, want %s", size, got, head)
		}
	}
}

func TestCloneWithoutBlobsAndOfOneCommit(t *testing.T) {
	f := newForge(t, Settings{})
	f.git(t, "init", "--quiet")
	id := strings.Fields(f.git(t, "ls-remote", f.url+"/web.git", "main"))[0]
	f.git(t, "fetch", "--quiet", "--depth=1", "--filter=blob:none", f.url+"/web.git", id)
	if got := f.git(t, "rev-parse", "FETCH_HEAD"); got != id {
		t.Errorf("fetched %s, want %s", got, id)
	}
}

func TestNothingButRepositoriesIsServed(t *testing.T) {
	f := newForge(t, Settings{User: "ada", Password: "s3cret"})
	write(t, filepath.Join(string(f.root), "secret"), "x")
	for path, want := range map[string]int{
		"/web.git/info/refs?service=git-upload-pack": http.StatusUnauthorized,
		"/secret":               http.StatusNotFound,
		"/.git/config":          http.StatusNotFound,
		"/../web.git/info/refs": http.StatusNotFound,
		"/a/web.git/info/refs":  http.StatusNotFound,
		"/no.git/info/refs?service=git-upload-pack":                   http.StatusNotFound,
		"/web.git/../../etc/passwd":                                   http.StatusUnauthorized,
		"//web.git/info/refs?service=git-receive-pack&service=secret": http.StatusNotFound,
	} {
		if got := f.get(t, path, ""); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}
	for _, path := range []string{"/web.git/lab.json", "/web.git/config", "/web.git/../secret", "/web.git/%2e%2e/secret", "/web.git/HEAD"} {
		if got := f.get(t, path, "s3cret"); got == http.StatusOK {
			t.Errorf("GET %s with the password: %d", path, got)
		}
	}
}

func (f forge) get(t *testing.T, path, password string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if password != "" {
		r.SetBasicAuth("ada", password)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestNames(t *testing.T) {
	root := Root(t.TempDir())
	for _, name := range []string{"", "..", ".hidden", "a/b", "A", "a..b", "x.git", strings.Repeat("a", 200), "a\n"} {
		if err := root.Create(t.Context(), name, Settings{}, nil); err == nil {
			t.Errorf("repository %q created", name)
		}
	}
	for _, name := range []string{"web", "shop-1.2", "a_b"} {
		if err := root.Create(t.Context(), name, Settings{}, nil); err != nil {
			t.Errorf("repository %q: %v", name, err)
		}
	}
}

// TestSign uses the vector that GitHub publishes for receivers to test with.
func TestSign(t *testing.T) {
	const want = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	if got := Sign("It's a Secret to Everybody", []byte("Hello, World!")); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

// delivery is what a receiver got.
type delivery struct {
	header http.Header
	body   []byte
}

// receiver returns a hook's URL that answers with the given codes in turn, the
// last one for ever.
func receiver(t *testing.T, codes ...int) (string, <-chan delivery) {
	t.Helper()
	got := make(chan delivery, 20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- delivery{r.Header, body}
		w.WriteHeader(codes[0])
		if len(codes) > 1 {
			codes = codes[1:]
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func next(t *testing.T, deliveries <-chan delivery) delivery {
	t.Helper()
	select {
	case d := <-deliveries:
		return d
	case <-time.After(time.Minute):
		t.Fatal("no push event arrived")
		return delivery{}
	}
}

func TestPushEvent(t *testing.T) {
	f := newForge(t, Settings{})
	url, deliveries := receiver(t, http.StatusServiceUnavailable, http.StatusNoContent)
	if err := f.root.AddHook("web", Hook{URL: url, Secret: "s3cret"}); err != nil {
		t.Fatal(err)
	}
	f.git(t, "clone", "--quiet", f.url+"/web.git", ".")
	before := f.git(t, "rev-parse", "HEAD")
	write(t, filepath.Join(f.clone, `odd "name".yaml`), "a: 1\n")
	f.git(t, "rm", "--quiet", "README.md")
	f.git(t, "add", "--all")
	f.git(t, "commit", "--quiet", "-m", "Move\n\nBecause.")
	after := f.git(t, "rev-parse", "HEAD")
	f.git(t, "push", "--quiet")

	first, again := next(t, deliveries), next(t, deliveries)
	if !bytes.Equal(first.body, again.body) || first.header.Get("X-GitHub-Delivery") != again.header.Get("X-GitHub-Delivery") {
		t.Error("the second attempt is not the first one repeated")
	}
	if got := first.header.Get("X-GitHub-Event"); got != "push" {
		t.Errorf("event %q", got)
	}
	if got, want := first.header.Get("X-Hub-Signature-256"), Sign("s3cret", first.body); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	var got pushEvent
	if err := json.Unmarshal(first.body, &got); err != nil {
		t.Fatal(err)
	}
	commit := eventCommit{
		ID: after, TreeID: f.git(t, "rev-parse", "HEAD^{tree}"), Distinct: true, Message: "Move\n\nBecause.",
		Timestamp: "2001-09-09T01:46:41+00:00", URL: f.url + "/web/commit/" + after,
		Author: eventPerson{"Ada", "ada@example.test"}, Committer: eventPerson{"Bo", "bo@example.test"},
		Added: []string{`odd "name".yaml`}, Removed: []string{"README.md"}, Modified: []string{},
	}
	want := pushEvent{
		Ref: "refs/heads/main", Before: before, After: after,
		Compare: f.url + "/web/compare/" + before[:12] + "..." + after[:12],
		Commits: []eventCommit{commit}, HeadCommit: &commit,
		Repository: repository{name: "web", url: f.url + "/web"}.describe(),
		Pusher:     eventPerson{"lab", "lab@lab.test"}, Sender: eventAccount{"lab"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestPushEventsOfReferences(t *testing.T) {
	f := newForge(t, Settings{})
	f.git(t, "clone", "--quiet", f.url+"/web.git", ".")
	url, deliveries := receiver(t, http.StatusOK)
	if err := f.root.AddHook("web", Hook{URL: url}); err != nil {
		t.Fatal(err)
	}
	commit := func(message string) { f.git(t, "commit", "--quiet", "--allow-empty", "-m", message) }
	for _, step := range []struct {
		what    string
		push    []string
		ref     string
		created bool
		deleted bool
		forced  bool
		commits int
	}{
		{"two commits", []string{"HEAD:main"}, "refs/heads/main", false, false, false, 2},
		{"new branch with nothing new", []string{"HEAD:refs/heads/dev"}, "refs/heads/dev", true, false, false, 0},
		{"tag", []string{"HEAD:refs/tags/v1"}, "refs/tags/v1", true, false, false, 0},
		{"rewritten", []string{"--force", "HEAD~1:main"}, "refs/heads/main", false, false, true, 0},
		{"deleted", []string{":dev"}, "refs/heads/dev", false, true, false, 0},
	} {
		if step.what == "two commits" {
			commit("One")
			commit("Two")
		}
		f.git(t, append([]string{"push", "--quiet", "origin"}, step.push...)...)
		d := next(t, deliveries)
		var e pushEvent
		if err := json.Unmarshal(d.body, &e); err != nil {
			t.Fatal(err)
		}
		if e.Ref != step.ref || e.Created != step.created || e.Deleted != step.deleted || e.Forced != step.forced || len(e.Commits) != step.commits {
			t.Errorf("%s: got %s", step.what, d.body)
		}
		if d.header.Get("X-Hub-Signature-256") != "" {
			t.Errorf("%s: signed without a secret", step.what)
		}
	}
	if _, err := f.try(t, "push", "--quiet", "origin", "HEAD:refs/heads/bad..name"); err == nil {
		t.Error("a refused push succeeds")
	}
	select {
	case d := <-deliveries:
		t.Errorf("a refused push is announced: %s", d.body)
	default:
	}
}

func TestFirstCommitDependsOnFilesAlone(t *testing.T) {
	a, b := newForge(t, Settings{}), newForge(t, Settings{})
	ids := [2]string{}
	for i, f := range []forge{a, b} {
		f.git(t, "init", "--quiet")
		ids[i] = strings.Fields(f.git(t, "ls-remote", f.url+"/web.git", "main"))[0]
	}
	if ids[0] != ids[1] {
		t.Errorf("the same files are commit %s and %s", ids[0], ids[1])
	}
}
