package git

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// IsAncestor tells whether commit a is b or one that b builds upon. If the
// commit that a branch was at is not an ancestor of the one it is at now, the
// branch was rewritten. It fails with Kind NotFound for a commit that is not
// in the mirror.
func (m *Mirror) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	for _, id := range []string{a, b} {
		if _, err := m.find(ctx, id); err != nil {
			return false, err
		}
	}
	if a == b {
		return true, nil
	}
	_, err := m.run.run(ctx, call{args: []string{"merge-base", "--is-ancestor", a, b}})
	var bad *commandError
	if errors.As(err, &bad) && bad.code == 1 {
		return false, nil
	}
	if err != nil {
		return false, m.failed(err)
	}
	return true, nil
}

// ChangedPaths lists the files that differ between two commits, sorted; a
// renamed file is there under both names. It fails with Kind NotFound for a
// commit that is not in the mirror.
func (m *Mirror) ChangedPaths(ctx context.Context, a, b string) ([]string, error) {
	for _, id := range []string{a, b} {
		if _, err := m.find(ctx, id); err != nil {
			return nil, err
		}
	}
	out, err := m.run.run(ctx, call{args: []string{"diff-tree", "-r", "-z", "--name-only", "--no-renames", a, b}})
	if err != nil {
		return nil, m.failed(err)
	}
	paths := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	paths = slices.DeleteFunc(paths, func(p string) bool { return p == "" })
	slices.Sort(paths)
	return paths, nil
}
