package render

import (
	"errors"
	"fmt"
	"io/fs"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/wire"
)

// Bounds of the look-ups of one rendering.
const (
	// maxFileBytes is the largest file that is handed to a renderer.
	maxFileBytes = 32 << 20
	// maxReadBytes bounds the sum of all files of one rendering.
	maxReadBytes = 256 << 20
	// maxLookups bounds how often one rendering may ask.
	maxLookups = 50_000
)

// brokenSnapshot is an error of the Snapshot itself, such as a Git mirror that
// is gone. It says nothing about the files, so it ends the rendering.
type brokenSnapshot struct{ err error }

func (b *brokenSnapshot) Error() string { return b.err.Error() }
func (b *brokenSnapshot) Unwrap() error { return b.err }

// library answers the look-ups of a worker from a Snapshot, and keeps a
// journal of them.
type library struct {
	snapshot mizzen.Snapshot
	journal  *journal
	lookups  int
	bytes    int64
}

func newLibrary(s mizzen.Snapshot) *library {
	return &library{snapshot: s, journal: newJournal()}
}

// answer returns the data for a question, or the error that the renderer is to
// see. The second error ends the rendering: a bound is exceeded, or the
// Snapshot is broken.
func (l *library) answer(q wire.Question) (data []byte, seen, failed error) {
	if l.lookups++; l.lookups > maxLookups {
		return nil, nil, tooMuch(fmt.Sprintf("the rendering looks for more than %d files", maxLookups),
			"split the application into several")
	}
	data, err := l.look(q)
	var broken *brokenSnapshot
	switch {
	case err == nil:
		return data, nil, nil
	case errors.As(err, &broken) || mizzen.KindOf(err) == mizzen.TooLarge:
		return nil, nil, err
	}
	return nil, err, nil
}

func (l *library) look(q wire.Question) ([]byte, error) {
	info, err := l.snapshot.Stat(q.Name)
	if err != nil {
		return nil, l.missed(q.Name, err)
	}
	t := wire.TypeOf(info.Mode())
	switch {
	case q.Op == wire.OpRead && t == wire.TypeFile:
		return l.read(q.Name, info.Size())
	case q.Op == wire.OpList && t == wire.TypeDir:
		return l.list(q.Name)
	}
	l.journal.add(Fact{Name: q.Name, Saw: SawType, ID: string(t)})
	switch q.Op {
	case wire.OpRead:
		return nil, fmt.Errorf("read %s: it is not a file", q.Name)
	case wire.OpList:
		return nil, fmt.Errorf("list %s: it is not a directory", q.Name)
	}
	return []byte{byte(t)}, nil
}

// missed notes a look-up that found nothing, and returns what the renderer is
// to see.
func (l *library) missed(name string, err error) error {
	switch {
	case mizzen.KindOf(err) == mizzen.Refused:
		l.journal.add(Fact{Name: name, Saw: SawRefused, ID: refusal(err)})
	case errors.Is(err, fs.ErrNotExist):
		l.journal.add(Fact{Name: name, Saw: SawAbsent})
	default:
		return &brokenSnapshot{fmt.Errorf("look up %s: %w", name, err)}
	}
	return err
}

func (l *library) read(name string, size int64) ([]byte, error) {
	if size > maxFileBytes {
		return nil, &mizzen.Error{
			Kind: mizzen.TooLarge, Object: name, Origin: mizzen.Origin{File: name},
			Err:    fmt.Errorf("the file has %d MiB, %d are allowed", size>>20, maxFileBytes>>20),
			Remedy: "move the file out of the application's directory",
		}
	}
	data, err := l.snapshot.ReadFile(name)
	if err != nil {
		return nil, l.missed(name, err)
	}
	if l.bytes += int64(len(data)); l.bytes > maxReadBytes || len(data) > maxFileBytes {
		return nil, tooMuch(fmt.Sprintf("the rendering reads more than %d MiB of files", maxReadBytes>>20),
			"split the application, or move large files out of its directory")
	}
	id, err := l.snapshot.ID(name)
	if err != nil {
		// It was found just before, so the Snapshot is broken.
		return nil, &brokenSnapshot{fmt.Errorf("identify %s: %w", name, err)}
	}
	l.journal.add(Fact{Name: name, Saw: SawContent, ID: id})
	return data, nil
}

func (l *library) list(name string) ([]byte, error) {
	list, err := l.snapshot.ReadDir(name)
	if err != nil {
		return nil, l.missed(name, err)
	}
	entries := entriesOf(list)
	data := wire.EncodeEntries(entries)
	if l.bytes += int64(len(data)); len(data) > maxFileBytes || l.bytes > maxReadBytes {
		return nil, tooMuch(fmt.Sprintf("the listing of %s is too long", name), "keep fewer files in one directory")
	}
	l.journal.add(Fact{Name: name, Saw: SawNames, ID: digest(string(data))})
	l.journal.names[name] = entries
	return data, nil
}

func tooMuch(what, remedy string) error {
	return &mizzen.Error{Kind: mizzen.TooLarge, Err: errors.New(what), Remedy: remedy}
}
