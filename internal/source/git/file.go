package git

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"
)

// info describes an entry; the size is asked for when it is needed.
type info struct {
	snapshot *Snapshot
	path     string
	entry    entry
}

func (s *Snapshot) info(name string, e entry) info { return info{s, name, e} }

// Name returns the last element of the path.
func (i info) Name() string { return path.Base(i.path) }

// Size returns the length in bytes, 0 for directories.
func (i info) Size() int64 {
	n, _ := i.size() // who made the info has asked already
	return n
}

func (i info) size() (int64, error) {
	switch i.entry.mode.kind() {
	case modeFile, modeLink:
		header, err := i.snapshot.header(i.entry.id)
		return header.size, err
	}
	return 0, nil
}

// Mode is that of a checkout with the usual umask.
func (i info) Mode() fs.FileMode {
	switch i.entry.mode.kind() {
	case modeLink:
		return fs.ModeSymlink | 0o777
	case modeFile:
		if i.entry.mode&0o100 != 0 {
			return 0o755
		}
		return 0o644
	}
	return fs.ModeDir | 0o755
}

// ModTime is the time of the commit.
func (i info) ModTime() time.Time { return i.snapshot.commit.Time }

// IsDir tells whether it is a directory.
func (i info) IsDir() bool { return i.Mode().IsDir() }

// Sys returns nil.
func (i info) Sys() any { return nil }

// dirEntry is an element of a listing.
type dirEntry struct{ info info }

func (d dirEntry) Name() string      { return d.info.Name() }
func (d dirEntry) IsDir() bool       { return d.info.IsDir() }
func (d dirEntry) Type() fs.FileMode { return d.info.Mode().Type() }
func (d dirEntry) String() string    { return fs.FormatDirEntry(d) }
func (d dirEntry) Info() (fs.FileInfo, error) {
	if _, err := d.info.size(); err != nil {
		return nil, err
	}
	return d.info, nil
}

// file is an open file. Its content is read at the first Read.
type file struct {
	info   info
	reader *bytes.Reader
	closed bool
}

func (f *file) load(op string) error {
	if f.closed {
		return &fs.PathError{Op: op, Path: f.info.path, Err: fs.ErrClosed}
	}
	if f.reader != nil {
		return nil
	}
	data, err := f.info.snapshot.content(f.info.path, f.info.entry)
	if err == nil {
		f.reader = bytes.NewReader(data)
	}
	return err
}

func (f *file) Stat() (fs.FileInfo, error) {
	if f.closed {
		return nil, &fs.PathError{Op: "stat", Path: f.info.path, Err: fs.ErrClosed}
	}
	return dirEntry{f.info}.Info()
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	return f.reader.Read(p)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	n, err := f.reader.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &fs.PathError{Op: "read", Path: f.info.path, Err: fs.ErrInvalid}
	}
	return n, err
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	if err := f.load("seek"); err != nil {
		return 0, err
	}
	n, err := f.reader.Seek(offset, whence)
	if err != nil {
		err = &fs.PathError{Op: "seek", Path: f.info.path, Err: fs.ErrInvalid}
	}
	return n, err
}

func (f *file) Close() error {
	f.closed, f.reader = true, nil
	return nil
}

// directory is an open directory.
type directory struct {
	info    info
	entries []fs.DirEntry
	closed  bool
}

func (d *directory) Stat() (fs.FileInfo, error) {
	if d.closed {
		return nil, &fs.PathError{Op: "stat", Path: d.info.path, Err: fs.ErrClosed}
	}
	return d.info, nil
}

func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.path, Err: errors.New("is a directory")}
}

func (d *directory) Close() error {
	d.closed, d.entries = true, nil
	return nil
}

// ReadDir returns the next n entries, or all that are left if n <= 0.
func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, &fs.PathError{Op: "readdir", Path: d.info.path, Err: fs.ErrClosed}
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
