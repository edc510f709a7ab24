package dir

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// named is a file's description under the name that was asked for, which a
// link may have changed.
type named struct {
	fs.FileInfo
	name string
}

func (n named) Name() string { return n.name }

func base(info fs.FileInfo, name string) fs.FileInfo { return named{info, path.Base(name)} }

// file is an open file.
type file struct {
	*os.File
	info fs.FileInfo
}

func (f file) Stat() (fs.FileInfo, error) {
	if _, err := f.File.Stat(); err != nil {
		return nil, err // it is closed
	}
	return f.info, nil
}

// directory is an open directory.
type directory struct {
	name    string
	info    fs.FileInfo
	entries []fs.DirEntry
	closed  bool
}

func (d *directory) Stat() (fs.FileInfo, error) {
	if d.closed {
		return nil, &fs.PathError{Op: "stat", Path: d.name, Err: fs.ErrClosed}
	}
	return d.info, nil
}

func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *directory) Close() error {
	d.closed, d.entries = true, nil
	return nil
}

// ReadDir returns the next n entries, or all that are left if n <= 0.
func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, &fs.PathError{Op: "readdir", Path: d.name, Err: fs.ErrClosed}
	}
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	next := append([]fs.DirEntry{}, d.entries[:n]...)
	d.entries = d.entries[n:]
	return next, nil
}
