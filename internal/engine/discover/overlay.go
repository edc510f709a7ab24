package discover

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// Over returns the Snapshot as the part sees it: with its overlay.
func (p Part) Over(s mizzen.Snapshot) mizzen.Snapshot {
	if len(p.Overlay) == 0 {
		return s
	}
	return &overlaid{Snapshot: s, files: p.Overlay}
}

// overlaid is a Snapshot some of whose files are others, or new ones in
// directories that it has.
type overlaid struct {
	mizzen.Snapshot
	files map[string][]byte
}

func (o *overlaid) ReadFile(name string) ([]byte, error) {
	if b, ok := o.files[name]; ok {
		return bytes.Clone(b), nil
	}
	return o.Snapshot.ReadFile(name)
}

func (o *overlaid) Stat(name string) (fs.FileInfo, error) {
	if b, ok := o.files[name]; ok {
		return laidFile{path.Base(name), int64(len(b))}, nil
	}
	return o.Snapshot.Stat(name)
}

func (o *overlaid) Open(name string) (fs.File, error) {
	if b, ok := o.files[name]; ok {
		return &openFile{laidFile{path.Base(name), int64(len(b))}, bytes.NewReader(b)}, nil
	}
	return o.Snapshot.Open(name)
}

func (o *overlaid) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := o.Snapshot.ReadDir(name)
	if err != nil {
		return nil, err
	}
	for _, file := range slices.Sorted(maps.Keys(o.files)) {
		if path.Dir(file) != name {
			continue
		}
		entry := fs.FileInfoToDirEntry(laidFile{path.Base(file), int64(len(o.files[file]))})
		at, found := slices.BinarySearchFunc(entries, entry.Name(), func(e fs.DirEntry, name string) int {
			return cmp.Compare(e.Name(), name)
		})
		if found {
			entries = slices.Clone(entries)
			entries[at] = entry
		} else {
			entries = slices.Insert(slices.Clone(entries), at, entry)
		}
	}
	return entries, nil
}

// ID covers what is laid over at or below the name.
func (o *overlaid) ID(name string) (string, error) {
	h := sha256.New()
	if _, ok := o.files[name]; !ok {
		id, err := o.Snapshot.ID(name)
		if err != nil {
			return "", err
		}
		h.Write([]byte(id))
		if !slices.ContainsFunc(slices.Collect(maps.Keys(o.files)), func(file string) bool { return below(file, name) }) {
			return id, nil
		}
	}
	for _, file := range slices.Sorted(maps.Keys(o.files)) {
		if file == name || below(file, name) {
			fmt.Fprintf(h, "\x00%s\x00%d\x00%s", file, len(o.files[file]), o.files[file])
		}
	}
	return "overlaid:" + hex.EncodeToString(h.Sum(nil)), nil
}

func below(file, directory string) bool {
	return directory == "." || strings.HasPrefix(file, directory+"/")
}

// laidFile is the information about a file of an overlay.
type laidFile struct {
	name string
	size int64
}

func (f laidFile) Name() string     { return f.name }
func (f laidFile) Size() int64      { return f.size }
func (laidFile) Mode() fs.FileMode  { return 0o444 }
func (laidFile) ModTime() time.Time { return time.Time{} }
func (laidFile) IsDir() bool        { return false }
func (laidFile) Sys() any           { return nil }

// openFile reads a file of an overlay.
type openFile struct {
	info laidFile
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }
