package git_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

// upstream is a repository that a test writes to, and that Mizzen reads.
type upstream struct {
	t   testing.TB
	dir string
	n   int
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	return initUpstream(t, filepath.Join(t.TempDir(), "upstream.git"))
}

func initUpstream(t testing.TB, dir string) *upstream {
	t.Helper()
	u := &upstream{t: t, dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	u.git("init", "-q", "-b", "main")
	u.git("config", "gc.auto", "0")
	return u
}

func (u *upstream) git(args ...string) string {
	u.t.Helper()
	return u.gitIn(nil, args...)
}

func (u *upstream) gitIn(stdin []byte, args ...string) string {
	u.t.Helper()
	u.n++
	cmd := exec.Command("git", args...)
	cmd.Dir = u.dir
	stamp := fmt.Sprintf("%d +0100", 1_700_000_000+u.n)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ada Lovelace", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE="+stamp,
		"GIT_COMMITTER_NAME=Charles", "GIT_COMMITTER_EMAIL=charles@example.com", "GIT_COMMITTER_DATE="+stamp,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always")
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		u.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// write puts a file into the working tree.
func (u *upstream) write(name, content string) {
	u.t.Helper()
	file := filepath.Join(u.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		u.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		u.t.Fatal(err)
	}
}

func (u *upstream) link(name, target string) {
	u.t.Helper()
	file := filepath.Join(u.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		u.t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		u.t.Fatal(err)
	}
}

func (u *upstream) remove(name string) {
	u.t.Helper()
	if err := os.RemoveAll(filepath.Join(u.dir, name)); err != nil {
		u.t.Fatal(err)
	}
}

// commit commits everything in the working tree and returns the id.
func (u *upstream) commit(subject string) string {
	u.t.Helper()
	u.git("add", "-A")
	u.git("commit", "-q", "--allow-empty", "-m", subject)
	return u.git("rev-parse", "HEAD")
}

// push writes one file and commits it.
func (u *upstream) push(name, content string) string {
	u.t.Helper()
	u.write(name, content)
	return u.commit("change " + name)
}

func (u *upstream) url() string { return "file://" + u.dir }

func newStore(t testing.TB, options git.Options) *git.Store {
	t.Helper()
	return openStore(t, filepath.Join(t.TempDir(), "state"), options)
}

func openStore(t testing.TB, dir string, options git.Options) *git.Store {
	t.Helper()
	options.AllowFile = true
	s, err := git.NewStore(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func open(t testing.TB, s *git.Store, r git.Remote) *git.Mirror {
	t.Helper()
	m, err := s.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mirror returns a fetched mirror of u.
func mirror(t testing.TB, u *upstream) *git.Mirror {
	t.Helper()
	m := open(t, newStore(t, git.Options{}), git.Remote{URL: u.url()})
	fetch(t, m)
	return m
}

func fetch(t testing.TB, m *git.Mirror) git.Fetched {
	t.Helper()
	result, err := m.Fetch(t.Context())
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return result
}

func resolve(t testing.TB, m *git.Mirror, revision string) mizzen.Commit {
	t.Helper()
	c, err := m.Resolve(t.Context(), revision)
	if err != nil {
		t.Fatalf("resolve %q: %v", revision, err)
	}
	return c
}

func snapshot(t testing.TB, m *git.Mirror, revision string) *git.Snapshot {
	t.Helper()
	s, err := m.Snapshot(t.Context(), resolve(t, m, revision).ID)
	if err != nil {
		t.Fatalf("snapshot of %q: %v", revision, err)
	}
	return s
}

// wantError checks what a user is told: the kind, and words that must be in
// the message.
func wantError(t testing.TB, err error, kind mizzen.Kind, words ...string) {
	t.Helper()
	if mizzen.KindOf(err) != kind {
		t.Errorf("error is of kind %q, want %q: %v", mizzen.KindOf(err), kind, err)
	}
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error lacks %q: %v", w, err)
		}
	}
}

// eventually waits for something that happens beside the test.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: never happened", what)
		case <-tick.C:
		}
	}
}
