package dir_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/dir"
	"mizzen.dev/mizzen/internal/source/git"
)

func run(t testing.TB, at string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = at
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=a@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t testing.TB, at, name, content string) {
	t.Helper()
	file := filepath.Join(at, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, at, name, target string) {
	t.Helper()
	file := filepath.Join(at, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file); err != nil {
		t.Fatal(err)
	}
}

// files fills a directory.
func files(t testing.TB, at string) {
	t.Helper()
	write(t, at, "README.md", "hello\n")
	write(t, at, "apps/web/deployment.yaml", "kind: Deployment\n")
	write(t, at, "apps/web.yaml", "kind: Service\n")
	write(t, at, "shared/values.yaml", "a: 1\n")
	link(t, at, "apps/web/values.yaml", "../../shared/values.yaml")
	link(t, at, "apps/latest", "web")
	if err := os.Chmod(filepath.Join(at, "README.md"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func clone(t testing.TB) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "a:clone")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, at, "init", "-q", "-b", "main")
	run(t, at, "remote", "add", "origin", "https://ada:sesame@forge.example/shop.git")
	files(t, at)
	write(t, at, ".gitignore", "*.secret\nbuild/\n")
	run(t, at, "add", "-A")
	run(t, at, "commit", "-q", "-m", "first")
	return at
}

func open(t testing.TB, path string) *dir.Source {
	t.Helper()
	s, err := dir.Open(t.Context(), path, git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func id(t testing.TB, s mizzen.Snapshot, name string) string {
	t.Helper()
	got, err := s.ID(name)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCleanClone(t *testing.T) {
	at := clone(t)
	s := open(t, filepath.Join(at, "apps", "web"))
	if s.Path != "apps/web" || s.Clone == nil {
		t.Errorf("the path within the clone is %q", s.Path)
	}
	if got := s.Snapshot.Commit(); got.ID != run(t, at, "rev-parse", "HEAD") || got.Subject != "first" {
		t.Errorf("the commit of a clean clone is %+v", got)
	}
	if err := fstest.TestFS(s.Snapshot, "README.md", "apps/web/deployment.yaml", "shared/values.yaml"); err != nil {
		t.Error(err)
	}
	if url, err := s.Clone.OriginURL(t.Context()); err != nil || url != "https://ada:***@forge.example/shop.git" {
		t.Errorf("origin is %q, %v", url, err)
	}
	if file := open(t, filepath.Join(at, "apps", "web.yaml")); file.Path != "apps/web.yaml" {
		t.Errorf("the path of a file is %q", file.Path)
	}
}

// A change of the same length at the time at which the index was written shows
// neither in time nor in size: Git reads such a file, and so must we.
func TestChangedWithTheIndex(t *testing.T) {
	at := clone(t)
	run(t, at, "config", "core.trustctime", "false") // nobody can set that one
	name, index := filepath.Join(at, "shared/values.yaml"), filepath.Join(at, ".git/index")
	old := time.Now().Add(-time.Hour)
	set := func(file string) {
		t.Helper()
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	set(name)
	run(t, at, "update-index", "--refresh")
	write(t, at, "shared/values.yaml", "a: 2\n")
	set(name)
	set(index)
	s := open(t, at).Snapshot
	if got, err := fs.ReadFile(s, "shared/values.yaml"); err != nil || string(got) != "a: 2\n" || s.Commit().ID != "" {
		t.Errorf("read %q, %v, of commit %q", got, err, s.Commit().ID)
	}
}

func TestUncommittedChanges(t *testing.T) {
	at := clone(t)
	head := id(t, open(t, at).Snapshot, "shared")
	write(t, at, "apps/web/deployment.yaml", "changed")
	write(t, at, "apps/new.yaml", "new")
	write(t, at, "apps/key.secret", "ignored")
	write(t, at, "build/out.yaml", "ignored")
	if err := os.Remove(filepath.Join(at, "apps/web.yaml")); err != nil {
		t.Fatal(err)
	}
	before := run(t, at, "status", "--porcelain")
	objects := run(t, at, "count-objects")
	s := open(t, filepath.Join(at, "apps")).Snapshot
	if run(t, at, "status", "--porcelain") != before || run(t, at, "count-objects") != objects {
		t.Error("opening the clone changed it")
	}
	for name, want := range map[string]string{"apps/web/deployment.yaml": "changed", "apps/new.yaml": "new", "README.md": "hello\n"} {
		if data, err := s.ReadFile(name); err != nil || string(data) != want {
			t.Errorf("%s reads %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"apps/web.yaml", "apps/key.secret", "build", ".git", ".git/config"} {
		if _, err := s.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Stat(%q): %v", name, err)
		}
	}
	if c := s.Commit(); c.ID != "" || c.Short() != "working tree" {
		t.Errorf("the commit of a changed clone is %+v", c)
	}
	if got := id(t, s, "shared"); got != head {
		t.Errorf("the ID of what did not change is %s, was %s", got, head)
	}
	// It is taken once.
	write(t, at, "apps/new.yaml", "newer")
	if data, err := s.ReadFile("apps/new.yaml"); err != nil || string(data) != "new" {
		t.Errorf("after a later change: %q, %v", data, err)
	}
	// What it says is what a commit holds.
	write(t, at, "apps/new.yaml", "new")
	run(t, at, "add", "-A")
	run(t, at, "commit", "-q", "-m", "second")
	if want := run(t, at, "rev-parse", "HEAD:apps/web"); id(t, s, "apps/web") == want {
		t.Error("links do not count in the ID")
	}
	after := open(t, at).Snapshot
	for _, name := range []string{".", "apps", "apps/web", "README.md"} {
		if id(t, s, name) != id(t, after, name) {
			t.Errorf("the ID of %s differs before and after the commit", name)
		}
	}
}

func TestEmptyClone(t *testing.T) {
	at := t.TempDir()
	run(t, at, "init", "-q")
	write(t, at, "a", "1")
	s := open(t, at).Snapshot
	if data, err := s.ReadFile("a"); err != nil || string(data) != "1" {
		t.Errorf("before the first commit: %q, %v", data, err)
	}
}

func TestRevisionsOfAClone(t *testing.T) {
	at := clone(t)
	first := run(t, at, "rev-parse", "HEAD")
	run(t, at, "update-ref", "refs/remotes/origin/main", first)
	run(t, at, "checkout", "-q", "-b", "topic")
	write(t, at, "shared/values.yaml", "a: 2\n")
	run(t, at, "commit", "-q", "-am", "second")
	local, err := git.OpenLocal(t.Context(), filepath.Join(at, "shared"), git.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = local.Close() })
	for revision, want := range map[string]string{"origin/main": "a: 1\n", "HEAD": "a: 2\n", "topic~1": "a: 1\n", first[:8]: "a: 1\n"} {
		s, err := local.Snapshot(t.Context(), revision)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := s.ReadFile("shared/values.yaml"); err != nil || string(data) != want {
			t.Errorf("at %s: %q, %v", revision, data, err)
		}
	}
	if base, err := local.MergeBase(t.Context(), "origin/main", "topic"); err != nil || base.ID != first {
		t.Errorf("the merge base is %+v, %v", base, err)
	}
	for _, revision := range []string{"none", "--all", "", "-x", "HEAD:shared", "a\nb"} {
		if _, err := local.Snapshot(t.Context(), revision); err == nil {
			t.Errorf("revision %q exists", revision)
		}
	}
	_, err = local.Snapshot(t.Context(), "origin/none")
	if mizzen.KindOf(err) != mizzen.NotFound || !strings.Contains(err.Error(), "git fetch origin") {
		t.Errorf("a revision that is not there: %v", err)
	}
}

func TestDirectoryOutsideOfAClone(t *testing.T) {
	at := t.TempDir()
	files(t, at)
	s := open(t, at)
	if s.Path != "." || s.Clone != nil {
		t.Errorf("opened %+v", s)
	}
	if err := fstest.TestFS(s.Snapshot, "README.md", "apps/web/deployment.yaml", "shared/values.yaml"); err != nil {
		t.Error(err)
	}
	if file := open(t, filepath.Join(at, "apps", "web.yaml")); file.Path != "web.yaml" {
		t.Errorf("the path of a file is %q", file.Path)
	}
	_, err := dir.Open(t.Context(), filepath.Join(at, "none"), git.Options{})
	if mizzen.KindOf(err) != mizzen.NotFound {
		t.Errorf("a path that does not exist: %v", err)
	}
}

// TestSameIDs: the three ways to the same content give the same IDs.
func TestSameIDs(t *testing.T) {
	at := clone(t)
	if err := os.Mkdir(filepath.Join(at, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := dir.OpenTree(at, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	taken := open(t, at).Snapshot
	var names []string
	err = fs.WalkDir(taken, ".", func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	if err != nil || len(names) < 8 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if diff := cmp.Diff(id(t, taken, name), id(t, tree, name)); diff != "" {
			t.Errorf("the ID of %s: %s", name, diff)
		}
	}
	if got, want := id(t, tree, "shared"), run(t, at, "rev-parse", "HEAD:shared"); got != want {
		t.Errorf("the ID of a directory is %s, Git says %s", got, want)
	}
	before := id(t, tree, "apps/web")
	write(t, at, "shared/values.yaml", "a: 2\n")
	if id(t, tree, "apps/web") == before {
		t.Error("what a link leads to does not count")
	}
	if id(t, tree, "empty") == "" {
		t.Error("an empty directory has no ID")
	}
}

func TestTreeCannotBeLeft(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "secret", "sesame")
	at := filepath.Join(outside, "inside")
	files(t, at)
	run(t, at, "init", "-q")
	link(t, at, "abs", filepath.Join(outside, "secret"))
	link(t, at, "up", "../secret")
	link(t, at, "apps/up", "../../secret")
	link(t, at, "hop", "apps/latest/../../../secret")
	link(t, at, "loop", "loop")
	link(t, at, "config", ".git/config")
	if err := syscall.Mkfifo(filepath.Join(at, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree, err := dir.OpenTree(at, 100)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	for _, name := range []string{"abs", "up", "apps/up", "hop", "loop"} {
		data, err := tree.ReadFile(name)
		if mizzen.KindOf(err) != mizzen.Refused || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile(%q) = %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"config", ".git/config", ".GIT/config", "pipe", "missing", "README.md/x"} {
		if data, err := tree.ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile(%q) = %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"../secret", "/etc/passwd", "apps/../../secret", "caf\xe9"} {
		if data, err := tree.ReadFile(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ReadFile(%q) = %q, %v", name, data, err)
		}
	}
	entries, err := tree.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == ".git" || e.Name() == "pipe" {
			t.Errorf("%s is listed", e.Name())
		}
	}
	write(t, at, "big", strings.Repeat("x", 101))
	_, err = tree.ReadFile("big")
	if mizzen.KindOf(err) != mizzen.TooLarge || !strings.Contains(err.Error(), "101 bytes") {
		t.Errorf("a big file: %v", err)
	}
	if _, err = tree.Open("big"); mizzen.KindOf(err) != mizzen.TooLarge {
		t.Errorf("a big file: %v", err)
	}
}
