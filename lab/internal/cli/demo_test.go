package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mizzen.dev/mizzen/lab/demo"
	"mizzen.dev/mizzen/lab/internal/gitserver"
)

// chart is a file of Istio's in the demo.
const chart = "helm-charts/istiod/charts/istiod/Chart.yaml"

// oldDemo makes the demo's repository as an older lab has left it: with another
// chart of Istio and a file that is no more, served elsewhere. That lab noted
// its version, unless it was older still.
func (l lab) oldDemo(t *testing.T, version string) {
	t.Helper()
	repository := filepath.Join(l.dir.Git(), "demo.git")
	if err := os.RemoveAll(repository); err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	if err := demo.Write(files, demo.Place{URL: "http://127.0.0.1:1/demo.git"}); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{chart: "version: 0.0.1\n", "mesh/former.yaml": "# of long ago\n"} {
		if err := os.WriteFile(filepath.Join(files, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := &gitserver.Commit{Dir: files, Author: demo.Author, Date: time.Unix(1e9, 0), Message: "Begin"}
	settings := gitserver.Settings{Laid: gitserver.Laid{Version: version}}
	if err := gitserver.Root(l.dir.Git()).Create(t.Context(), "demo", settings, first); err != nil {
		t.Fatal(err)
	}
}

// git runs a Git command in the demo's repository.
func (l lab) git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", filepath.Join(l.dir.Git(), "demo.git")}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// userPushes a commit for each script, which changes a clone.
func (l lab) userPushes(t *testing.T, scripts ...string) {
	t.Helper()
	clone := filepath.Join(t.TempDir(), "clone")
	for _, script := range scripts {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", `
			[ -e "$2" ] || git clone -q "$1" "$2"
			cd "$2"
			export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.test GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.test
			eval "$3"
			git push -q`, "sh", filepath.Join(l.dir.Git(), "demo.git"), clone, script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("push: %v\n%s", err, out)
		}
	}
}

// freshDemo is the tree of the demo that this lab lays down.
func (l lab) freshDemo(t *testing.T) string {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(l.dir.Git(), "demo.git")); err != nil {
		t.Fatal(err)
	}
	l.must(t, "up", "--demo")
	return l.git(t, "rev-parse", "main^{tree}")
}

// upDemo is `lab up --demo`; it returns what it says of the demo.
func (l lab) upDemo(t *testing.T, args ...string) string {
	t.Helper()
	code, _, stderr := l.command(t, append([]string{"up", "--demo"}, args...)...)
	if code != 0 {
		t.Fatalf("lab up --demo: exit code %d\n%s", code, stderr)
	}
	return stderr
}

const change = `sed -i 's/weight: 90/weight: 50/' mesh/reviews.yaml; git commit -qam 'Mine'`

// TestDemoOfAnotherVersion: who has committed nothing gets the new files, by a
// commit on top; who has is told, and nothing of it is touched.
func TestDemoOfAnotherVersion(t *testing.T) {
	l := newLab(t)
	l.must(t, "up")
	fresh := l.freshDemo(t)
	head := l.git(t, "rev-parse", "main")
	if said := l.upDemo(t); said != "" || l.git(t, "rev-parse", "main") != head {
		t.Errorf("a fresh demo is changed: %s%s", said, l.git(t, "log", "--oneline", "main"))
	}
	for _, version := range []string{"", "1"} {
		for what, scripts := range map[string][]string{"nothing": nil, "something, and taken back": {change, "git revert --no-edit HEAD"}} {
			if version == "" && scripts != nil {
				continue // nobody knows what was laid down
			}
			l.oldDemo(t, version)
			l.userPushes(t, scripts...)
			before := l.git(t, "rev-parse", "main")
			said := l.upDemo(t)
			if tree := l.git(t, "rev-parse", "main^{tree}"); tree != fresh || !strings.Contains(said, "another version") {
				t.Errorf("version %q, %s committed: %s\n%s", version, what, said, l.git(t, "diff", "--stat", tree, fresh))
			}
			if parent := l.git(t, "rev-parse", "main^"); parent != before {
				t.Errorf("version %q, %s committed: the history is not kept", version, what)
			}
			if said := l.upDemo(t); said != "" || l.git(t, "rev-parse", "main^") != before {
				t.Errorf("version %q, %s committed: again: %s%s", version, what, said, l.git(t, "log", "--oneline", "main"))
			}
		}
		l.oldDemo(t, version)
		l.userPushes(t, change)
		before := l.git(t, "rev-parse", "main")
		said := l.upDemo(t)
		if !strings.Contains(said, "commits of yours") || !strings.Contains(said, "down --purge") {
			t.Errorf("version %q, the user's own: %q", version, said)
		}
		// Where it is, and no more.
		if changed := l.git(t, "diff", "--name-only", before, "main"); changed != "apps/values.yaml\nbootstrap.yaml" {
			t.Errorf("version %q, the user's own: changed are %s", version, changed)
		}
		if url := l.status(t).URLs["git"] + "/demo.git"; !strings.Contains(l.git(t, "show", "main:bootstrap.yaml"), url) {
			t.Errorf("version %q, the user's own: it is not at %s", version, url)
		}
	}
}

// TestDemoFollows the way in which the lab is started, beside what the user has
// committed.
func TestDemoFollows(t *testing.T) {
	l := newLab(t)
	l.must(t, "up", "--demo")
	l.userPushes(t, change)
	// As if its nodes had been others.
	l.userPushes(t, `sed -i 's/^nodes: .*/nodes: live/; s/^tracing: .*/tracing: true/' apps/values.yaml; git commit -qam 'Live'`)
	for _, c := range []struct {
		args    []string
		tracing bool
	}{
		{nil, false}, // there is none without pods that run
		{[]string{"--tracing"}, false},
	} {
		if said := l.upDemo(t, c.args...); said != "" {
			t.Errorf("%v: %s", c.args, said)
		}
		values := l.git(t, "show", "main:apps/values.yaml")
		if !strings.Contains(values, "\nnodes: kwok\n") || !strings.Contains(values, fmt.Sprintf("\ntracing: %t\n", c.tracing)) {
			t.Errorf("%v: %s", c.args, values)
		}
	}
	if !strings.Contains(l.git(t, "show", "main:mesh/reviews.yaml"), "weight: 50") {
		t.Error("the user's commit is lost")
	}
}
