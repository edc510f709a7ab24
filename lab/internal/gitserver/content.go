package gitserver

import (
	"context"
	"fmt"
	"strings"
)

// in runs a Git command in a repository and returns its trimmed output.
func (r Root) in(ctx context.Context, name string, args ...string) (string, error) {
	path, err := r.path(name)
	if err != nil {
		return "", err
	}
	out, err := git(ctx, path, nil, args...)
	return strings.TrimSpace(out), err
}

// Head returns the commit that the repository's branch is at.
func (r Root) Head(ctx context.Context, name string) (string, error) {
	return r.in(ctx, name, "rev-parse", "--verify", "--quiet", "refs/heads/"+Branch)
}

// SameFiles reports whether two commits have the same files.
func (r Root) SameFiles(ctx context.Context, name, a, b string) (bool, error) {
	trees, err := r.in(ctx, name, "rev-parse", a+"^{tree}", b+"^{tree}")
	if err != nil {
		return false, err
	}
	first, second, _ := strings.Cut(trees, "\n")
	return first == second, nil
}

// OnlyBy reports whether a commit and all before it are of one author, who is
// "Name <address>".
func (r Root) OnlyBy(ctx context.Context, name, commit, author string) (bool, error) {
	authors, err := r.in(ctx, name, "log", "--format=%an <%ae>", commit)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(authors) {
		if strings.TrimSpace(line) != author {
			return false, nil
		}
	}
	return true, nil
}

// File returns a file of a commit.
func (r Root) File(ctx context.Context, name, commit, file string) ([]byte, error) {
	path, err := r.path(name)
	if err != nil {
		return nil, err
	}
	out, err := git(ctx, path, nil, "cat-file", "blob", commit+":"+file)
	return []byte(out), err
}

// Commit adds a commit after parent, on no branch, and returns its id.
func (r Root) Commit(ctx context.Context, name, parent string, c Commit) (string, error) {
	path, err := r.path(name)
	if err != nil {
		return "", err
	}
	return c.write(ctx, path, parent)
}

// Push makes the repository's branch go on to a commit, through the server at
// base, which announces it. It fails if somebody else has pushed meanwhile.
func (r Root) Push(ctx context.Context, name, base, commit string) error {
	if _, err := r.in(ctx, name, "push", "--quiet", base+"/"+name+".git", commit+":refs/heads/"+Branch); err != nil {
		return fmt.Errorf("push to %s: %w", name, err)
	}
	return nil
}

// SetLaid notes what the lab laid down.
func (r Root) SetLaid(name string, laid Laid) error {
	s, err := r.Settings(name)
	if err != nil {
		return err
	}
	s.Laid = laid
	path, err := r.path(name)
	if err != nil {
		return err
	}
	return writeSettings(path, s)
}
