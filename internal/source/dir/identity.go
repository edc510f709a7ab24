package dir

import (
	"crypto/sha1" //nolint:gosec // the hash is Git's
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"mizzen.dev/mizzen/internal/source/symlink"
)

// ID returns the content address of a file or directory: the id that Git
// would give it, and if symbolic links are below it, one that covers what they
// lead to. Everything below is read.
func (t *Tree) ID(name string) (string, error) {
	real, _, err := t.find("id", name, true)
	if err != nil {
		return "", err
	}
	return symlink.Identity(real, t)
}

// Plain is the ID of a path without what links lead to; see symlink.Tree.
func (t *Tree) Plain(name string) (string, bool, error) {
	info, err := t.lstat(name)
	if err != nil {
		return "", false, err
	}
	id, _, err := t.hash(name, info.Mode())
	if err == nil && id == nil {
		id = sum("tree", nil)
	}
	return hex.EncodeToString(id), info.IsDir(), err
}

// hash returns Git's id of an entry, and its mode in a tree. A directory
// without files has no id, for Git does not know it.
func (t *Tree) hash(name string, mode fs.FileMode) ([]byte, string, error) {
	switch mode.Type() {
	case fs.ModeDir:
		return t.hashDirectory(name)
	case fs.ModeSymlink:
		target, err := t.root.Readlink(name)
		return sum("blob", []byte(target)), "120000", err
	}
	gitMode := "100644"
	if mode&0o100 != 0 {
		gitMode = "100755"
	}
	id, err := t.hashFile(name)
	return id, gitMode, err
}

// hashFile reads a file of any size, a little at a time.
func (t *Tree) hashFile(name string) ([]byte, error) {
	f, err := t.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h := sha1.New() //nolint:gosec // the hash is Git's
	fmt.Fprintf(h, "blob %d\x00", info.Size())
	n, err := io.Copy(h, io.LimitReader(f, info.Size()))
	if err == nil && n != info.Size() {
		err = fmt.Errorf("%s changed while it was read", name)
	}
	return h.Sum(nil), err
}

func (t *Tree) hashDirectory(name string) ([]byte, string, error) {
	entries, err := t.list(name, name)
	if err != nil {
		return nil, "", err
	}
	// Git orders a directory as if its name ended in a slash.
	key := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(key(a), key(b)) })
	var tree []byte
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, "", err
		}
		id, mode, err := t.hash(path.Join(name, e.Name()), info.Mode())
		if err != nil {
			return nil, "", err
		}
		if id != nil {
			tree = append(append(tree, mode+" "+e.Name()+"\x00"...), id...)
		}
	}
	if len(tree) == 0 && name != "." {
		return nil, "", nil
	}
	return sum("tree", tree), "40000", nil
}

func sum(kind string, data []byte) []byte {
	h := sha1.New() //nolint:gosec // the hash is Git's
	fmt.Fprintf(h, "%s %d\x00", kind, len(data))
	h.Write(data)
	return h.Sum(nil)
}

// Links lists the symbolic links below a directory; see symlink.Tree.
func (t *Tree) Links(name string) ([]string, error) {
	var links []string
	err := t.walkLinks(name, "", &links)
	return links, err
}

func (t *Tree) walkLinks(dir, below string, links *[]string) error {
	entries, err := t.list(dir, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(below, e.Name())
		switch e.Type() {
		case fs.ModeSymlink:
			*links = append(*links, name)
		case fs.ModeDir:
			if err := t.walkLinks(path.Join(dir, e.Name()), name, links); err != nil {
				return err
			}
		}
		if len(*links) > symlink.MaxLinks {
			return symlink.ErrTooMany
		}
	}
	return nil
}
