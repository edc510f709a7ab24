package git

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// mode is what a tree says of an entry.
type mode uint32

const (
	modeKind      mode = 0o170000
	modeDirectory mode = 0o040000
	modeFile      mode = 0o100000
	modeLink      mode = 0o120000
	modeSubmodule mode = 0o160000
)

func (m mode) kind() mode { return m & modeKind }

// entry is one name of a directory.
type entry struct {
	name string
	id   oid
	mode mode
}

// tree is a directory, its entries sorted by name.
type tree struct {
	entries []entry
}

var errTruncated = errors.New("malformed tree: it ends in the middle of an entry")

// parseTree reads a tree object whose ids have idLen bytes. A name that could
// lead out of the directory, or that is there twice, makes it malformed.
func parseTree(data []byte, idLen int) (*tree, error) {
	t := &tree{}
	// One string backs all names and ids.
	for rest := string(data); rest != ""; {
		e, after, err := parseEntry(rest, idLen)
		if err != nil {
			return nil, err
		}
		t.entries = append(t.entries, e)
		rest = after
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(t.entries); i++ {
		if t.entries[i].name == t.entries[i-1].name {
			return nil, fmt.Errorf("malformed tree: %q is there twice", printable(t.entries[i].name, 80))
		}
	}
	return t, nil
}

// parseEntry reads "mode name NUL id" and returns what comes after it.
func parseEntry(s string, idLen int) (e entry, after string, err error) {
	digits, after, ok := strings.Cut(s, " ")
	if !ok {
		return e, "", errTruncated
	}
	if e.mode, err = parseMode(digits); err != nil {
		return e, "", err
	}
	e.name, after, ok = strings.Cut(after, "\x00")
	if !ok || len(after) < idLen {
		return e, "", errTruncated
	}
	if e.name == "" || e.name == "." || e.name == ".." || strings.Contains(e.name, "/") {
		return e, "", fmt.Errorf("malformed tree: %q is no file name", printable(e.name, 80))
	}
	e.id = oid(after[:idLen])
	return e, after[idLen:], nil
}

func parseMode(digits string) (mode, error) {
	var m mode
	if digits == "" || len(digits) > 7 {
		return 0, fmt.Errorf("malformed tree: mode %q", printable(digits, 20))
	}
	for _, d := range []byte(digits) {
		if d < '0' || d > '7' {
			return 0, fmt.Errorf("malformed tree: mode %q", printable(digits, 20))
		}
		m = m<<3 | mode(d-'0')
	}
	switch m.kind() {
	case modeDirectory, modeFile, modeLink, modeSubmodule:
		return m, nil
	}
	return 0, fmt.Errorf("malformed tree: mode %q", printable(digits, 20))
}

// find returns the entry of that name.
func (t *tree) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(t.entries, name, func(e entry, name string) int { return cmp.Compare(e.name, name) })
	if !ok {
		return entry{}, false
	}
	return t.entries[i], true
}
