// Package dir reads desired state from the user's own disk, for the command
// line: what is in a clone now, changes that are not committed included, or
// what is in a directory that Git knows nothing of.
//
// In comes a path; out come a Snapshot of the whole clone (or of the directory)
// and where in it the path is. A clone is read through Git, so that the
// Snapshot holds what a commit of everything would hold, with the same IDs.
package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

// Source is an opened path.
type Source struct {
	// Snapshot is the content of the clone, or of the directory.
	Snapshot mizzen.Snapshot
	// Path is where in the Snapshot the opened path is; "." is its root.
	Path string
	// Clone is nil if the path is in no clone.
	Clone *git.Local

	close []func()
}

// Open opens a file or directory. In a clone the Snapshot is taken now and
// does not change; outside of one the files are read when they are asked for.
// It fails with Kind NotFound if the path does not exist, Invalid if Git
// cannot read the working tree, and Refused if Git does not trust the clone.
// The caller closes the Source.
func Open(ctx context.Context, path string, options git.Options) (*Source, error) {
	real, err := realPath(path)
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: path, Err: err, Remedy: "name a file or directory that exists"}
	}
	clone, err := git.OpenLocal(ctx, real, options)
	if errors.Is(err, git.ErrNoClone) {
		return openPlain(real, options)
	}
	if err != nil {
		return nil, err
	}
	s := &Source{Clone: clone, close: []func(){func() { _ = clone.Close() }}}
	if s.Path, err = within(clone.Root(), real); err != nil {
		s.Close()
		return nil, err
	}
	snapshot, done, err := clone.WorkingTree(ctx)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.Snapshot, s.close = snapshot, append([]func(){done}, s.close...)
	return s, nil
}

func openPlain(real string, options git.Options) (*Source, error) {
	root, name := real, "."
	if info, err := os.Stat(real); err == nil && !info.IsDir() {
		root, name = filepath.Dir(real), filepath.Base(real)
	}
	tree, err := OpenTree(root, options.MaxFileBytes)
	if err != nil {
		return nil, err
	}
	return &Source{Snapshot: tree, Path: name, close: []func(){func() { _ = tree.Close() }}}, nil
}

// realPath returns the absolute path without symbolic links, as Git names the
// root of a clone.
func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

func within(root, path string) (string, error) {
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s is not below the clone's root %s", path, root)
	}
	return filepath.ToSlash(rel), nil
}

// Close ends what runs for the Source, and removes what it left on disk.
func (s *Source) Close() {
	for _, f := range s.close {
		f()
	}
	s.close = nil
}
