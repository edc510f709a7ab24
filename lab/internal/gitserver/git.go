package gitserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// environment hides the user's and the machine's configuration of Git: the
// lab's repositories are the same everywhere.
var environment = []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C"}

// git runs a Git command in dir and returns its output.
func git(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(append(cleanEnvironment(), environment...), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// cleanEnvironment is ours without what would point Git to another repository,
// such as the variables that Git sets for its hooks.
func cleanEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT_") {
			env = append(env, v)
		}
	}
	return env
}

// Commit is the first commit of a repository.
type Commit struct {
	// Dir has the files.
	Dir string
	// Author is author and committer as "Name <address>".
	Author string
	// Date is of author and committer: with a fixed one the commit's id
	// depends on the files alone.
	Date time.Time
	// Message is the commit's.
	Message string
}

// write adds the commit to the bare repository, without a checkout.
func (c Commit) write(ctx context.Context, repository string) error {
	files, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	name, address, _ := strings.Cut(strings.TrimSuffix(c.Author, ">"), " <")
	index := filepath.Join(repository, "index.first")
	defer func() { _ = os.Remove(index) }()
	date := fmt.Sprintf("%d +0000", c.Date.Unix())
	env := []string{
		"GIT_DIR=" + repository, "GIT_WORK_TREE=" + files, "GIT_INDEX_FILE=" + index,
		"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + address, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + address, "GIT_COMMITTER_DATE=" + date,
	}
	// Everything, even what a .gitignore among the files would leave out.
	if _, err := git(ctx, files, env, "-c", "core.autocrlf=false", "add", "--all", "--force", "."); err != nil {
		return err
	}
	tree, err := git(ctx, files, env, "write-tree")
	if err != nil {
		return err
	}
	commit, err := git(ctx, files, env, "commit-tree", "-m", c.Message, strings.TrimSpace(tree))
	if err != nil {
		return err
	}
	_, err = git(ctx, files, env, "update-ref", "refs/heads/"+Branch, strings.TrimSpace(commit))
	return err
}
