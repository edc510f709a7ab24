// Package memtree is a Snapshot in memory, for tests: a map from paths to
// contents with the identities and the symbolic links of a Git tree.
package memtree

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// Link before a content makes the file a symbolic link to the rest of it.
const Link = "\x00link "

// Tree maps paths to contents. It is a Snapshot as long as it does not change.
type Tree map[string]string

var _ mizzen.Snapshot = Tree{}

// maxLinks is how many symbolic links a path may lead through.
const maxLinks = 40

// Commit implements mizzen.Snapshot. Its ID is that of the content.
func (t Tree) Commit() mizzen.Commit { return mizzen.Commit{ID: t.hash(".")} }

// resolve returns the path behind all symbolic links of name.
func (t Tree) resolve(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	missing := &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	done, rest := ".", name
	for links := 0; rest != "" && rest != "."; {
		head, tail, _ := strings.Cut(rest, "/")
		next := path.Join(done, head)
		target, isLink := strings.CutPrefix(t[next], Link)
		if !isLink {
			done, rest = next, tail
			continue
		}
		links++
		next = path.Join(done, target)
		if path.IsAbs(target) || !fs.ValidPath(next) {
			return "", &mizzen.Error{Kind: mizzen.Refused, Object: name, Err: fmt.Errorf("the link leaves the tree: %w", missing)}
		}
		if links > maxLinks {
			return "", missing
		}
		done, rest = ".", path.Join(next, tail)
	}
	if _, file := t[done]; !file && !t.isDir(done) {
		return "", missing
	}
	return done, nil
}

func (t Tree) isDir(name string) bool {
	if name == "." {
		return true
	}
	for p := range t {
		if strings.HasPrefix(p, name+"/") {
			return true
		}
	}
	return false
}

// ReadFile implements fs.ReadFileFS.
func (t Tree) ReadFile(name string) ([]byte, error) {
	p, err := t.resolve("read", name)
	if err != nil {
		return nil, err
	}
	content, ok := t[p]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	return []byte(content), nil
}

// Stat implements fs.StatFS; it follows symbolic links.
func (t Tree) Stat(name string) (fs.FileInfo, error) {
	p, err := t.resolve("stat", name)
	if err != nil {
		return nil, err
	}
	return t.info(p, path.Base(name)), nil
}

func (t Tree) info(p, name string) entry {
	content, ok := t[p]
	switch {
	case !ok:
		return entry{name: name, mode: fs.ModeDir | 0o755}
	case strings.HasPrefix(content, Link):
		return entry{name: name, mode: fs.ModeSymlink | 0o777}
	}
	return entry{name: name, mode: 0o644, size: int64(len(content))}
}

// ReadDir implements fs.ReadDirFS.
func (t Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	p, err := t.resolve("readdir", name)
	if err != nil {
		return nil, err
	}
	if _, file := t[p]; file {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	var list []fs.DirEntry
	for _, n := range t.names(p) {
		list = append(list, t.info(path.Join(p, n), n))
	}
	return list, nil
}

// names returns the sorted names in a directory.
func (t Tree) names(dir string) []string {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	var names []string
	for p := range t {
		if rest, ok := strings.CutPrefix(p, prefix); ok {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ID implements mizzen.Snapshot: a hash of the content, or of the entries. As
// in Git, the hash of a directory covers the text of a symbolic link in it and
// not what it leads to.
func (t Tree) ID(name string) (string, error) {
	p, err := t.resolve("id", name)
	if err != nil {
		return "", err
	}
	return t.hash(p), nil
}

func (t Tree) hash(p string) string {
	h := sha256.New()
	if content, ok := t[p]; ok {
		fmt.Fprintf(h, "blob %s", content)
		return hex.EncodeToString(h.Sum(nil))
	}
	for _, n := range t.names(p) {
		below := path.Join(p, n)
		fmt.Fprintf(h, "%s %q %s\n", t.info(below, n).mode, n, t.hash(below))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Open implements fs.FS. Renderers and the pool do without it.
func (t Tree) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
}

type entry struct {
	name string
	mode fs.FileMode
	size int64
}

func (e entry) Name() string               { return e.name }
func (e entry) Size() int64                { return e.size }
func (e entry) Mode() fs.FileMode          { return e.mode }
func (e entry) Type() fs.FileMode          { return e.mode.Type() }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) IsDir() bool                { return e.mode.IsDir() }
func (e entry) Sys() any                   { return nil }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
