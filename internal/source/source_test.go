package source_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/source"
	"mizzen.dev/mizzen/internal/source/git"
)

// commit adds a commit to the repository in dir, which it makes if need be,
// and returns its id.
func commit(t *testing.T, dir, message string) string {
	t.Helper()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		run("init", "-q", "-b", "main")
	}
	run("commit", "-q", "--allow-empty", "-m", message)
	return run("rev-parse", "HEAD")
}

// TestRepositoriesThatShareAMirror: what one of them fetched was old news to
// the other, which stayed for ever at the commit that it had seen.
func TestRepositoriesThatShareAMirror(t *testing.T) {
	store, err := git.NewStore(t.TempDir(), git.Options{AllowFile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	upstream := t.TempDir()
	first := commit(t, upstream, "First")
	s := source.New(store)
	a, b := mizzen.Name{Namespace: "a", Name: "demo"}, mizzen.Name{Namespace: "b", Name: "demo"}
	fetch := func(name mizzen.Name) (string, bool) {
		t.Helper()
		fetched, err := s.Fetch(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := s.Snapshot(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		return snapshot.Commit().ID, fetched.Changed
	}
	for _, name := range []mizzen.Name{a, b} {
		if err := s.Set(name, v1alpha1.RepositorySpec{URL: "file://" + upstream, Revision: "main"}, nil); err != nil {
			t.Fatal(err)
		}
		if got, _ := fetch(name); got != first {
			t.Fatalf("%s is at %s, want %s", name, got, first)
		}
	}
	second := commit(t, upstream, "Second")
	for _, name := range []mizzen.Name{a, b} {
		if got, changed := fetch(name); got != second || !changed {
			t.Errorf("%s is at %s (changed: %v), want %s", name, got, changed, second)
		}
		if got, changed := fetch(name); got != second || changed {
			t.Errorf("%s is at %s, and says that this is new: %v", name, got, changed)
		}
	}
}
