package worker

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"
	"time"

	"mizzen.dev/mizzen/internal/render/wire"
)

// files is the repository as a renderer sees it: every look-up is a question
// to the parent, which notes it. Of a file there is nothing to see but its
// type and its content: size, mode and time are no input of a rendering.
type files struct {
	server *server
	mu     sync.Mutex
	types  map[string]lookup
	lists  map[string][]fs.DirEntry
}

// lookup is a remembered answer to a Stat, since renderers repeat them.
type lookup struct {
	info fs.FileInfo
	err  error
}

func newFiles(s *server) *files {
	return &files{server: s, types: map[string]lookup{}, lists: map[string][]fs.DirEntry{}}
}

// ask sends a question and waits for the answer; f.mu must be held.
func (f *files) ask(op wire.Op, name string) ([]byte, error) {
	if !fs.ValidPath(name) || len(name) > wire.MaxName {
		return nil, fs.ErrInvalid
	}
	if err := f.server.conn.Send(wire.Ask, wire.Question{Op: op, Name: name}.Encode()); err != nil {
		return nil, err
	}
	answer := <-f.server.frames
	if answer.kind != wire.Answer {
		return nil, fmt.Errorf("%w: a frame of kind %q instead of an answer", wire.ErrProtocol, byte(answer.kind))
	}
	return wire.DecodeAnswer(answer.payload)
}

// Stat implements fs.StatFS. It follows symbolic links.
func (f *files) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.types[name]; ok {
		return known.info, known.err
	}
	var l lookup
	switch data, err := f.ask(wire.OpStat, name); {
	case err != nil:
		l.err = &fs.PathError{Op: "stat", Path: name, Err: err}
	case len(data) != 1:
		l.err = &fs.PathError{Op: "stat", Path: name, Err: wire.ErrProtocol}
	default:
		l.info = info{name: path.Base(name), kind: wire.EntryType(data[0])}
	}
	f.types[name] = l
	return l.info, l.err
}

// ReadFile implements fs.ReadFileFS. The caller owns the result.
func (f *files) ReadFile(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := f.ask(wire.OpRead, name)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

// ReadDir implements fs.ReadDirFS. Entries are sorted by name; the type of a
// symbolic link is fs.ModeSymlink.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known, ok := f.lists[name]; ok {
		return append([]fs.DirEntry(nil), known...), nil
	}
	data, err := f.ask(wire.OpList, name)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	entries, err := wire.DecodeEntries(data)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		list[i] = info{name: e.Name, kind: e.Type}
	}
	f.lists[name] = list
	return append([]fs.DirEntry(nil), list...), nil
}

// Open implements fs.FS.
func (f *files) Open(name string) (fs.File, error) {
	i, err := f.Stat(name)
	if err != nil {
		return nil, err
	}
	if i.IsDir() {
		list, err := f.ReadDir(name)
		return &openDir{openFile{info: i}, list}, err
	}
	data, err := f.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &openFile{info: i, rest: data}, nil
}

// info is both the fs.FileInfo and the fs.DirEntry of a file.
type info struct {
	name string
	kind wire.EntryType
}

func (i info) Name() string               { return i.name }
func (i info) Size() int64                { return 0 }
func (i info) Mode() fs.FileMode          { return i.kind.Mode() }
func (i info) Type() fs.FileMode          { return i.kind.Mode().Type() }
func (i info) ModTime() time.Time         { return time.Time{} }
func (i info) IsDir() bool                { return i.kind == wire.TypeDir }
func (i info) Sys() any                   { return nil }
func (i info) Info() (fs.FileInfo, error) { return i, nil }

// openFile is an fs.File over content that is already here.
type openFile struct {
	info fs.FileInfo
	rest []byte
}

func (o *openFile) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *openFile) Close() error               { return nil }

func (o *openFile) Read(b []byte) (int, error) {
	if len(o.rest) == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	n := copy(b, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// openDir is an fs.ReadDirFile.
type openDir struct {
	openFile
	list []fs.DirEntry
}

// Read implements fs.File; a directory has no content.
func (o *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: o.info.Name(), Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (o *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		list := o.list
		o.list = nil
		return list, nil
	}
	if len(o.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(o.list))
	list := o.list[:n]
	o.list = o.list[n:]
	return list, nil
}
