package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/wire"
)

// Saw is what a rendering learned of a name.
type Saw string

// What a rendering may learn of a name, the more telling the later.
const (
	// SawAbsent: there is nothing of this name.
	SawAbsent Saw = "absent"
	// SawRefused: the Snapshot does not let the name be looked at; ID is a
	// hash of what it says.
	SawRefused Saw = "refused"
	// SawType: whether it is a file or a directory; ID is a wire.EntryType.
	SawType Saw = "type"
	// SawNames: the names and types of its entries; ID is a hash of them. A
	// change of the content of an entry does not matter.
	SawNames Saw = "names"
	// SawContent: everything; ID is that of Snapshot.ID, of a file, or of a
	// directory all of which was read.
	SawContent Saw = "content"
)

var tellingness = map[Saw]int{SawAbsent: 1, SawRefused: 2, SawType: 3, SawNames: 4, SawContent: 5}

// Fact is one thing that a rendering learned of a Snapshot, and so depends on.
type Fact struct {
	Name string `json:"name"`
	Saw  Saw    `json:"saw"`
	ID   string `json:"id,omitempty"`
}

// holds reports whether the Snapshot still says the same. An error that says
// neither yes nor no counts as no.
func (f Fact) holds(s mizzen.Snapshot) bool {
	switch f.Saw {
	case SawContent:
		id, err := s.ID(f.Name)
		return err == nil && id == f.ID
	case SawNames:
		entries, err := s.ReadDir(f.Name)
		return err == nil && namesID(entriesOf(entries)) == f.ID
	}
	info, err := s.Stat(f.Name)
	switch f.Saw {
	case SawAbsent:
		return errors.Is(err, fs.ErrNotExist) && mizzen.KindOf(err) != mizzen.Refused
	case SawRefused:
		return refusal(err) == f.ID
	case SawType:
		return err == nil && string(wire.TypeOf(info.Mode())) == f.ID
	}
	return false
}

// refusal identifies an error of Kind Refused; it is "" for any other.
func refusal(err error) string {
	if mizzen.KindOf(err) != mizzen.Refused {
		return ""
	}
	return digest(err.Error())
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func namesID(entries []wire.Entry) string { return digest(string(wire.EncodeEntries(entries))) }

func entriesOf(list []fs.DirEntry) []wire.Entry {
	entries := make([]wire.Entry, len(list))
	for i, e := range list {
		entries[i] = wire.Entry{Name: e.Name(), Type: wire.TypeOf(e.Type())}
	}
	slices.SortFunc(entries, func(a, b wire.Entry) int { return cmp.Compare(a.Name, b.Name) })
	return entries
}

// journal collects the facts of one rendering.
type journal struct {
	facts map[string]Fact
	names map[string][]wire.Entry
}

func newJournal() *journal {
	return &journal{facts: map[string]Fact{}, names: map[string][]wire.Entry{}}
}

func (j *journal) add(f Fact) {
	if tellingness[f.Saw] > tellingness[j.facts[f.Name].Saw] {
		j.facts[f.Name] = f
	}
}

// compact returns the facts sorted by name. A directory whose names were seen
// and all of whose entries were read, to the bottom, becomes the one fact that
// its content was seen: a chart of two hundred files is one id.
func (j *journal) compact(s mizzen.Snapshot) ([]Fact, error) {
	whole := map[string]bool{}
	for dir := range j.names {
		j.seenWhole(dir, whole)
	}
	facts := make([]Fact, 0, len(j.facts))
	for name, f := range j.facts {
		if within(name, whole) {
			continue
		}
		if whole[name] {
			id, err := s.ID(name)
			if err != nil {
				return nil, fmt.Errorf("identify %s: %w", name, err)
			}
			f = Fact{Name: name, Saw: SawContent, ID: id}
		}
		facts = append(facts, f)
	}
	slices.SortFunc(facts, func(a, b Fact) int { return cmp.Compare(a.Name, b.Name) })
	return facts, nil
}

// seenWhole reports, and notes for every directory below, whether all of it
// was read. A symbolic link is never covered by the id of the directory that
// holds it, since that does not tell what it leads to.
func (j *journal) seenWhole(dir string, whole map[string]bool) bool {
	if known, ok := whole[dir]; ok {
		return known
	}
	entries, listed := j.names[dir]
	all := listed && len(entries) > 0
	for _, e := range entries {
		name := join(dir, e.Name)
		switch e.Type {
		case wire.TypeFile:
			all = all && j.facts[name].Saw == SawContent
		case wire.TypeDir:
			all = j.seenWhole(name, whole) && all
		default:
			all = false
		}
	}
	whole[dir] = all
	return all
}

// within reports whether a directory above name is marked in set.
func within(name string, set map[string]bool) bool {
	for name != "." {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return set["."]
		}
		name = name[:i]
		if set[name] {
			return true
		}
	}
	return false
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
