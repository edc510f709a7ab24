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

// Commit is a commit that the lab itself makes.
type Commit struct {
	// Dir has the files.
	Dir string
	// Edits are instead of Dir: what files of the commit's parent become, by
	// path. All others stay.
	Edits map[string][]byte
	// Author is author and committer as "Name <address>".
	Author string
	// Date is of author and committer: with a fixed one the commit's id
	// depends on the files alone.
	Date time.Time
	// Message is the commit's.
	Message string
}

// write adds the commit to the bare repository, on no branch and without a
// checkout, and returns its id. The first commit has no parent.
func (c Commit) write(ctx context.Context, repository, parent string) (string, error) {
	index := filepath.Join(repository, "index.lab")
	defer func() { _ = os.Remove(index) }()
	name, address, _ := strings.Cut(strings.TrimSuffix(c.Author, ">"), " <")
	date := fmt.Sprintf("%d +0000", c.Date.Unix())
	env := []string{
		"GIT_DIR=" + repository, "GIT_INDEX_FILE=" + index,
		"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + address, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + address, "GIT_COMMITTER_DATE=" + date,
	}
	fill := c.addDir
	if c.Dir == "" {
		fill = c.edit
	}
	if err := fill(ctx, repository, parent, env); err != nil {
		return "", err
	}
	tree, err := git(ctx, repository, env, "write-tree")
	if err != nil {
		return "", err
	}
	args := []string{"commit-tree", "-m", c.Message, strings.TrimSpace(tree)}
	if parent != "" {
		args = append(args, "-p", parent)
	}
	id, err := git(ctx, repository, env, args...)
	return strings.TrimSpace(id), err
}

// addDir fills the index with the files of Dir.
func (c Commit) addDir(ctx context.Context, _, _ string, env []string) error {
	files, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	// Everything, even what a .gitignore among the files would leave out.
	_, err = git(ctx, files, append(env, "GIT_WORK_TREE="+files), "-c", "core.autocrlf=false", "add", "--all", "--force", ".")
	return err
}

// edit fills the index with the parent's files, and those that differ.
func (c Commit) edit(ctx context.Context, repository, parent string, env []string) error {
	if _, err := git(ctx, repository, env, "read-tree", parent); err != nil {
		return err
	}
	content := filepath.Join(repository, "edit.lab")
	defer func() { _ = os.Remove(content) }()
	for path, data := range c.Edits {
		if err := os.WriteFile(content, data, 0o600); err != nil {
			return fmt.Errorf("edit %s: %w", path, err)
		}
		blob, err := git(ctx, repository, env, "hash-object", "-w", "--no-filters", content)
		if err != nil {
			return err
		}
		if _, err := git(ctx, repository, env, "update-index", "--add", "--cacheinfo", "100644,"+strings.TrimSpace(blob)+","+path); err != nil {
			return err
		}
	}
	return nil
}
