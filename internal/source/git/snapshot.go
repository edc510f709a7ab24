package git

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"unicode/utf8"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/symlink"
)

// Snapshot is the content of a repository at a commit. It reads objects when
// they are asked for, holds nothing itself, and may be used concurrently for
// as long as its Mirror or Local is open.
//
// Symbolic links are followed within the repository, and ReadDir shows them as
// links, so that a walk does not run in circles. A submodule is an empty
// directory.
type Snapshot struct {
	objects *objects
	commit  mizzen.Commit
	id      oid
	root    entry

	mu sync.Mutex
	// linked holds the IDs of directories with links in them.
	linked map[string]string
}

var (
	_ mizzen.Snapshot = (*Snapshot)(nil)
	_ fs.ReadLinkFS   = (*Snapshot)(nil)
)

func newSnapshot(o *objects, c *commit) *Snapshot {
	return &Snapshot{
		objects: o, commit: c.Commit, id: c.id, root: entry{name: ".", id: c.tree, mode: modeDirectory},
		linked: map[string]string{},
	}
}

func (s *Snapshot) tree(id oid) (*tree, error) {
	t, err := s.objects.tree(id)
	return t, s.objects.judge(s.id, err)
}

func (s *Snapshot) blob(id oid, limit int64) (object, []byte, error) {
	header, data, err := s.objects.blob(id, limit)
	return header, data, s.objects.judge(s.id, err)
}

func (s *Snapshot) header(id oid) (object, error) {
	header, err := s.objects.header(id)
	return header, s.objects.judge(s.id, err)
}

// Commit returns the revision that this is the content of.
func (s *Snapshot) Commit() mizzen.Commit { return s.commit }

// Open opens a file or directory. Beside fs.ErrNotExist it fails with Kind
// Refused (a link out of the repository), TooLarge (a file over the limit, when
// it is read), Invalid (a name or tree that is malformed) and Unreachable (the
// mirror is damaged).
func (s *Snapshot) Open(name string) (fs.File, error) {
	e, _, err := s.lookup("open", name, true)
	if err != nil {
		return nil, err
	}
	info := s.info(name, e)
	if e.mode.kind() == modeFile {
		return &file{info: info}, nil
	}
	entries, err := s.list(name, e)
	if err != nil {
		return nil, err
	}
	return &directory{info: info, entries: entries}, nil
}

// ReadFile returns the content of a file.
func (s *Snapshot) ReadFile(name string) ([]byte, error) {
	e, _, err := s.lookup("read", name, true)
	if err != nil {
		return nil, err
	}
	if e.mode.kind() != modeFile {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	data, err := s.content(name, e)
	return bytes.Clone(data), err
}

// content returns the bytes of a file, which belong to the cache.
func (s *Snapshot) content(name string, e entry) ([]byte, error) {
	header, data, err := s.blob(e.id, s.objects.maxFile)
	if errors.Is(err, errTooBig) {
		return nil, &mizzen.Error{
			Kind: mizzen.TooLarge, Object: name, Origin: mizzen.Origin{File: name},
			Err:    fmt.Errorf("the file has %d bytes, and at most %d are read", header.size, s.objects.maxFile),
			Remedy: "split the file, or move it out of the paths that are rendered",
		}
	}
	return data, err
}

// ReadDir lists a directory, sorted by name.
func (s *Snapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	e, _, err := s.lookup("readdir", name, true)
	if err != nil {
		return nil, err
	}
	return s.list(name, e)
}

func (s *Snapshot) list(name string, e entry) ([]fs.DirEntry, error) {
	switch e.mode.kind() {
	case modeSubmodule:
		return nil, nil
	case modeDirectory:
	default:
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	t, err := s.tree(e.id)
	if err != nil {
		return nil, located(name, err)
	}
	entries := make([]fs.DirEntry, len(t.entries))
	for i, child := range t.entries {
		entries[i] = dirEntry{s.info(child.name, child)}
	}
	return entries, nil
}

// Stat describes what a name stands for once links are followed.
func (s *Snapshot) Stat(name string) (fs.FileInfo, error) { return s.stat("stat", name, true) }

// Lstat describes the name itself.
func (s *Snapshot) Lstat(name string) (fs.FileInfo, error) { return s.stat("lstat", name, false) }

func (s *Snapshot) stat(op, name string, follow bool) (fs.FileInfo, error) {
	e, _, err := s.lookup(op, name, follow)
	if err != nil {
		return nil, err
	}
	info := s.info(name, e)
	if _, err := info.size(); err != nil {
		return nil, err
	}
	return info, nil
}

// ReadLink returns the target of a symbolic link as it is written.
func (s *Snapshot) ReadLink(name string) (string, error) {
	e, _, err := s.lookup("readlink", name, false)
	if err != nil {
		return "", err
	}
	if e.mode.kind() != modeLink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return s.target(e)
}

// target reads a link. One that is too long to be a path comes back longer
// than symlink.MaxTarget, which the reader of links refuses.
func (s *Snapshot) target(e entry) (string, error) {
	_, data, err := s.blob(e.id, symlink.MaxTarget)
	if errors.Is(err, errTooBig) {
		return strings.Repeat("?", symlink.MaxTarget+1), nil
	}
	return string(data), err
}

// lookup finds what a name stands for, and under which name without links.
func (s *Snapshot) lookup(op, name string, follow bool) (entry, string, error) {
	if !utf8.ValidString(name) {
		return entry{}, "", unreadableName(name)
	}
	if !fs.ValidPath(name) {
		return entry{}, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e, through, err := s.descend(name)
	real := name
	if err == nil && (through || follow && e.mode.kind() == modeLink) {
		if real, err = symlink.Resolve(name, follow, s.readLink); err == nil {
			e, _, err = s.descend(real)
		}
	}
	if errors.Is(err, fs.ErrNotExist) && mizzen.KindOf(err) != mizzen.Refused {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return e, real, err
}

// readLink is the symlink.Read of the snapshot.
func (s *Snapshot) readLink(name string) (string, bool, error) {
	e, _, err := s.descend(name)
	if err != nil || e.mode.kind() != modeLink {
		return "", false, err
	}
	target, err := s.target(e)
	return target, true, err
}

// descend walks from the root to a name. It stops at the first link, and says
// so if that is not the last element.
func (s *Snapshot) descend(name string) (e entry, through bool, err error) {
	e = s.root
	if name == "." {
		return e, false, nil
	}
	for rest := name; rest != ""; {
		switch e.mode.kind() {
		case modeLink:
			return e, true, nil
		case modeDirectory:
		default:
			return entry{}, false, fs.ErrNotExist
		}
		t, err := s.tree(e.id)
		if err != nil {
			return entry{}, false, located(name[:len(name)-len(rest)], err)
		}
		var element string
		element, rest, _ = strings.Cut(rest, "/")
		child, ok := t.find(element)
		if !ok {
			return entry{}, false, fs.ErrNotExist
		}
		e = child
	}
	return e, false, nil
}

// located adds the directory's path to an error that knows only its id.
func located(dir string, err error) error {
	var e *mizzen.Error
	if !errors.As(err, &e) || e.Origin.File != "" {
		return err
	}
	with := *e
	with.Origin.File = strings.TrimSuffix(dir, "/")
	return &with
}

func unreadableName(name string) error {
	shown := fmt.Sprintf("%q", truncate(name, 200))
	return &mizzen.Error{
		Kind: mizzen.Invalid, Object: shown, Err: fmt.Errorf("the file's name is not UTF-8: %w", fs.ErrInvalid),
		Remedy: "rename the file",
	}
}
