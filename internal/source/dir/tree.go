package dir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/symlink"
)

// defaultMaxFile is the size up to which a file is read, in bytes.
const defaultMaxFile = 10 << 20

// Tree is a directory as a Snapshot. It cannot be left, by links neither, and
// what is no file, directory or link does not exist, nor does anything called
// .git. Files are read when they are asked for: who changes them meanwhile
// sees a mixture.
type Tree struct {
	root    *os.Root
	maxFile int64
}

var (
	_ mizzen.Snapshot = (*Tree)(nil)
	_ fs.ReadLinkFS   = (*Tree)(nil)
)

// OpenTree opens a directory; files of more than maxFile bytes are not read (0
// means 10 MiB). It fails with Kind NotFound. The caller closes it.
func OpenTree(directory string, maxFile int64) (*Tree, error) {
	if maxFile == 0 {
		maxFile = defaultMaxFile
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: directory, Err: err, Remedy: "name a directory that exists and that you may read"}
	}
	return &Tree{root: root, maxFile: maxFile}, nil
}

// Close ends the use of the directory.
func (t *Tree) Close() error { return t.root.Close() }

// Commit returns a commit without ID: nothing is committed here.
func (t *Tree) Commit() mizzen.Commit { return mizzen.Commit{} }

// Open opens a file or directory. It fails with fs.ErrNotExist, with Kind
// Refused for a link out of the directory, and with Kind TooLarge for a file
// that is too large.
func (t *Tree) Open(name string) (fs.File, error) {
	real, info, err := t.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && info.Size() > t.maxFile {
		return nil, t.tooLarge(name, info.Size())
	}
	f, err := t.root.Open(real)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return file{f, base(info, name)}, nil
	}
	defer f.Close()
	entries, err := t.list(name, real)
	return &directory{name: name, info: base(info, name), entries: entries}, err
}

// ReadFile returns the content of a file.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	real, info, err := t.find("read", name, true)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	return t.read(name, real)
}

func (t *Tree) read(name, real string) ([]byte, error) {
	f, err := t.root.Open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The file may grow while it is read.
	data, err := io.ReadAll(io.LimitReader(f, t.maxFile+1))
	if err == nil && int64(len(data)) > t.maxFile {
		size := int64(len(data))
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		return nil, t.tooLarge(name, size)
	}
	return data, err
}

func (t *Tree) tooLarge(name string, size int64) error {
	return &mizzen.Error{
		Kind: mizzen.TooLarge, Object: name, Origin: mizzen.Origin{File: name},
		Err:    fmt.Errorf("the file has %d bytes, and at most %d are read", size, t.maxFile),
		Remedy: "split the file, or move it out of the paths that are rendered",
	}
}

// ReadDir lists a directory, sorted by name.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	real, info, err := t.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return t.list(name, real)
}

func (t *Tree) list(name, real string) ([]fs.DirEntry, error) {
	f, err := t.root.Open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", name, err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return hidden(e.Name()) || !visible(e.Type()) })
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Stat describes what a name stands for once links are followed.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	_, info, err := t.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return base(info, name), nil
}

// Lstat describes the name itself.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) {
	_, info, err := t.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return base(info, name), nil
}

// ReadLink returns the target of a symbolic link as it is written.
func (t *Tree) ReadLink(name string) (string, error) {
	real, info, err := t.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if info.Mode().Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return t.root.Readlink(real)
}

// find returns what a name stands for, and its path without links.
func (t *Tree) find(op, name string, follow bool) (string, fs.FileInfo, error) {
	if !utf8.ValidString(name) {
		return "", nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: fmt.Sprintf("%q", name), Err: fmt.Errorf("the file's name is not UTF-8: %w", fs.ErrInvalid),
			Remedy: "rename the file",
		}
	}
	if !fs.ValidPath(name) {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	real, err := symlink.Resolve(name, follow, t.Target)
	var info fs.FileInfo
	if err == nil {
		info, err = t.lstat(real)
	}
	if errors.Is(err, fs.ErrNotExist) && mizzen.KindOf(err) != mizzen.Refused {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return real, info, err
}

// lstat looks at a path without links in it.
func (t *Tree) lstat(name string) (fs.FileInfo, error) {
	for element := range strings.SplitSeq(name, "/") {
		if hidden(element) {
			return nil, fs.ErrNotExist
		}
	}
	info, err := t.root.Lstat(name)
	if err != nil {
		// A file in the place of a directory, too, means that there is none.
		if _, above := t.root.Lstat(path.Dir(name)); above == nil && !errors.Is(err, fs.ErrPermission) {
			return nil, fs.ErrNotExist
		}
		return nil, err
	}
	if !visible(info.Mode().Type()) {
		return nil, fs.ErrNotExist
	}
	return info, nil
}

// Target is the symlink.Read of the tree.
func (t *Tree) Target(name string) (string, bool, error) {
	info, err := t.lstat(name)
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		return "", false, err
	}
	target, err := t.root.Readlink(name)
	return target, true, err
}

// hidden tells whether a name belongs to Git and not to the content.
func hidden(name string) bool { return strings.EqualFold(name, ".git") }

// visible tells whether an entry is content; to read a pipe or a device could
// take for ever.
func visible(t fs.FileMode) bool { return t == 0 || t == fs.ModeDir || t == fs.ModeSymlink }
