package labtest

import (
	"crypto/rand"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Repo is a repository on the lab's Git server, with a clone to change it
// from. Its branch is "main".
type Repo struct {
	// URL is for Git clients; it has no credentials in it.
	URL string
	// Dir is the clone.
	Dir string

	lab  *Lab
	name string
}

// Repo creates a repository with files (content by path) as its first commit.
// It is removed when the test ends.
func (l *Lab) Repo(t testing.TB, files map[string]string) *Repo {
	t.Helper()
	return l.repo(t, nil, files)
}

// ProtectedRepo creates a repository that asks for user and password.
func (l *Lab) ProtectedRepo(t testing.TB, user, password string, files map[string]string) *Repo {
	t.Helper()
	return l.repo(t, url.UserPassword(user, password), files)
}

func (l *Lab) repo(t testing.TB, who *url.Userinfo, files map[string]string) *Repo {
	t.Helper()
	name := prefix(t) + "-" + strings.ToLower(rand.Text()[:8])
	args := []string{"git", "create", name}
	if password, ok := who.Password(); ok {
		file := filepath.Join(t.TempDir(), "password")
		write(t, file, password)
		args = append(args, "--user", who.Username(), "--password-file", file)
	}
	l.run(t, args...)
	t.Cleanup(func() {
		if err := os.RemoveAll(filepath.Join(l.Dir, "git", name+".git")); err != nil {
			t.Errorf("remove repository: %v", err)
		}
	})
	r := &Repo{URL: l.GitURL + "/" + name + ".git", Dir: t.TempDir(), lab: l, name: name}
	remote, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	remote.User = who
	r.Git(t, "init", "--quiet", "--initial-branch=main")
	r.Git(t, "remote", "add", "origin", remote.String())
	r.Push(t, r.Commit(t, "Start", files))
	return r
}

// Commit writes files (content by path) into the clone, commits everything
// that has changed in it and returns the commit's id. Files that are not named
// stay; remove them from Dir first if they should go. It pushes nothing.
func (r *Repo) Commit(t testing.TB, message string, files map[string]string) string {
	t.Helper()
	for path, content := range files {
		write(t, filepath.Join(r.Dir, filepath.FromSlash(path)), content)
	}
	r.Git(t, "add", "--all", "--force")
	r.Git(t, "commit", "--quiet", "--allow-empty", "-m", message)
	return r.Git(t, "rev-parse", "HEAD")
}

// Push makes id the tip of main on the server, by force if need be, and
// returns it.
func (r *Repo) Push(t testing.TB, id string) string {
	t.Helper()
	r.Git(t, "push", "--quiet", "--force", "origin", id+":refs/heads/main")
	return id
}

// Hook makes the server announce each push to url, as GitHub does, signed with
// secret.
func (r *Repo) Hook(t testing.TB, url, secret string) {
	t.Helper()
	r.lab.run(t, "git", "hook", r.name, url, secret)
}

// Git runs a Git command in the clone and returns its trimmed output.
func (r *Repo) Git(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada Tester", "GIT_AUTHOR_EMAIL=ada@example.test",
		"GIT_COMMITTER_NAME=Ada Tester", "GIT_COMMITTER_EMAIL=ada@example.test")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
