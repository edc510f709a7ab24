package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"mizzen.dev/mizzen"
)

// mount is where Kustomize sees the repository. A path that leads out of it
// is not below mount, and refused; with "/" as the root, "../.." would end
// inside again.
const mount = "/repository"

var errReadOnly = errors.New("a repository is never written to")

// fileSystem shows a repository to Kustomize, read-only.
type fileSystem struct {
	ctx   context.Context
	fsys  fs.FS
	cache map[string]read
	// overlay replaces files of the repository.
	overlay map[string][]byte
	// refused is the first error that Kustomize must not hide in a text.
	refused error
}

type read struct {
	data []byte
	err  error
}

var _ filesys.FileSystem = (*fileSystem)(nil)

func newFileSystem(ctx context.Context, fsys fs.FS) *fileSystem {
	return &fileSystem{ctx: ctx, fsys: fsys, cache: map[string]read{}, overlay: map[string][]byte{}}
}

// name translates a path below mount to a name of the repository.
func (f *fileSystem) name(p string) (string, error) {
	p = filepath.ToSlash(filepath.Clean(p))
	if p == mount {
		return ".", nil
	}
	if name, inside := strings.CutPrefix(p, mount+"/"); inside {
		return name, nil
	}
	return "", f.refuse(outside(p, mizzen.Origin{}))
}

func outside(p string, at mizzen.Origin) error {
	return &mizzen.Error{
		Kind:   mizzen.Refused,
		Object: p,
		Origin: at,
		Err:    errors.New("the path leads out of the repository"),
		Remedy: "copy what it leads to into the repository",
	}
}

func (f *fileSystem) refuse(err error) error {
	if f.refused == nil {
		f.refused = err
	}
	return err
}

// read returns a file by its name in the repository.
func (f *fileSystem) read(name string) ([]byte, error) {
	if data, ok := f.overlay[name]; ok {
		return data, nil
	}
	return f.original(name)
}

// original returns a file as it is in the repository.
func (f *fileSystem) original(name string) ([]byte, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, f.refuse(fmt.Errorf("read %s: %w", name, err))
	}
	if known, ok := f.cache[name]; ok {
		return known.data, known.err
	}
	data, err := fs.ReadFile(f.fsys, name)
	if mizzen.KindOf(err) == mizzen.Refused {
		_ = f.refuse(err)
	}
	f.cache[name] = read{data, err}
	return data, err
}

// isDir reports whether there is a directory of this name, and whether there
// is anything.
func (f *fileSystem) isDir(name string) (dir, found bool) {
	if _, laid := f.overlay[name]; laid {
		return false, true
	}
	if known, ok := f.cache[name]; ok && known.err == nil {
		return false, true
	}
	info, err := fs.Stat(f.fsys, name)
	if mizzen.KindOf(err) == mizzen.Refused {
		_ = f.refuse(err)
	}
	return err == nil && info.IsDir(), err == nil
}

// ReadFile returns the content of a file.
func (f *fileSystem) ReadFile(p string) ([]byte, error) {
	name, err := f.name(p)
	if err != nil {
		return nil, err
	}
	return f.read(name)
}

// IsDir reports whether there is a directory.
func (f *fileSystem) IsDir(p string) bool {
	name, err := f.name(p)
	if err != nil {
		return false
	}
	dir, _ := f.isDir(name)
	return dir
}

// Exists reports whether there is a file or directory.
func (f *fileSystem) Exists(p string) bool {
	name, err := f.name(p)
	if err != nil {
		return false
	}
	_, found := f.isDir(name)
	return found
}

// CleanedAbs splits a path into a directory and, if it is one, a file.
func (f *fileSystem) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	name, err := f.name(p)
	if err != nil {
		return "", "", err
	}
	dir, found := f.isDir(name)
	full := path.Join(mount, name)
	switch {
	case dir:
		return filesys.ConfirmedDir(full), "", nil
	case found:
		return filesys.ConfirmedDir(path.Dir(full)), path.Base(full), nil
	}
	return "", "", &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
}

// ReadDir, Glob and Walk serve commands other than build; a build that called
// them would depend on more than its key says.

// ReadDir is not supported.
func (*fileSystem) ReadDir(string) ([]string, error) { return nil, errors.ErrUnsupported }

// Glob is not supported.
func (*fileSystem) Glob(string) ([]string, error) { return nil, errors.ErrUnsupported }

// Walk is not supported.
func (*fileSystem) Walk(string, filepath.WalkFunc) error { return errors.ErrUnsupported }

// Open is not supported; builds use ReadFile.
func (*fileSystem) Open(string) (filesys.File, error) { return nil, errors.ErrUnsupported }

// Create is refused.
func (*fileSystem) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir is refused.
func (*fileSystem) Mkdir(string) error { return errReadOnly }

// MkdirAll is refused.
func (*fileSystem) MkdirAll(string) error { return errReadOnly }

// RemoveAll is refused.
func (*fileSystem) RemoveAll(string) error { return errReadOnly }

// WriteFile is refused.
func (*fileSystem) WriteFile(string, []byte) error { return errReadOnly }
