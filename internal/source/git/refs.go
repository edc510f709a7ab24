package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"mizzen.dev/mizzen"
)

const (
	branches = "refs/heads/"
	tags     = "refs/tags/"
)

// refTable is what branches and tags were last seen at. It never changes.
type refTable struct {
	// ids maps a full name to the id of the object, which for an annotated tag
	// is not yet the commit.
	ids map[string]oid

	once     sync.Once
	versions []version
}

type version struct {
	*semver.Version
	ref string
}

// loadRefs reads the refs from the mirror.
func (m *Mirror) loadRefs(ctx context.Context) (*refTable, error) {
	out, err := m.run.run(ctx, call{args: []string{
		"for-each-ref", "--format=%(objectname) %(refname)", branches, tags, headRef,
	}})
	if err != nil {
		return nil, err
	}
	table := &refTable{ids: map[string]oid{}}
	for line := range strings.Lines(string(out)) {
		id, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if o, err := parseID(id); err == nil {
			table.ids[name] = o
		}
	}
	return table, nil
}

// table returns the refs that were last fetched, by this process or an
// earlier one.
func (m *Mirror) table(ctx context.Context) (*refTable, error) {
	if t := m.refs.Load(); t != nil {
		return t, nil
	}
	m.loading.Lock()
	defer m.loading.Unlock()
	if t := m.refs.Load(); t != nil {
		return t, nil
	}
	never := &mizzen.Error{
		Kind: mizzen.NotFound, Object: "repository " + m.URL(), Err: errors.New("it was never fetched"),
		Remedy: "wait for the first fetch",
	}
	if _, err := os.Stat(m.run.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, never
	}
	m.tidy()
	t, err := m.loadRefs(ctx)
	if err != nil {
		return nil, m.failed(err)
	}
	if len(t.ids) == 0 {
		// The first fetch may have been killed: what is empty now says nothing.
		return nil, never
	}
	m.refs.CompareAndSwap(nil, t)
	return m.refs.Load(), nil
}

// tidy sweeps unless somebody works on the mirror right now.
func (m *Mirror) tidy() {
	once, cancel := context.WithCancel(m.ctx)
	cancel()
	if lock, err := acquire(once, filepath.Join(m.base, lockName)); err == nil {
		_ = m.sweep(once) // else the next fetch does
		_ = lock.Close()
	}
}

// highest returns the tag with the highest version within a range. Of tags
// with equal versions, such as v1.0.0 and 1.0.0, the last by name counts.
func (t *refTable) highest(within *semver.Constraints) (ref string, ok bool) {
	t.once.Do(func() {
		for name := range t.ids {
			tag, isTag := strings.CutPrefix(name, tags)
			if !isTag || len(tag) > 256 {
				continue
			}
			if v, err := semver.NewVersion(tag); err == nil {
				t.versions = append(t.versions, version{v, name})
			}
		}
		slices.SortFunc(t.versions, func(a, b version) int {
			if order := b.Compare(a.Version); order != 0 {
				return order
			}
			return strings.Compare(b.ref, a.ref)
		})
	})
	for _, v := range t.versions {
		if within.Check(v.Version) {
			return v.ref, true
		}
	}
	return "", false
}

// similar returns up to three names of branches and tags that somebody may
// have meant by name.
func (t *refTable) similar(name string) []string {
	type candidate struct {
		name     string
		distance int
	}
	limit := max(2, len(name)/3)
	var found []candidate
	for ref := range t.ids {
		short := shortName(ref)
		if ref == headRef || len(short) > 100 || len(t.ids) > 20_000 {
			continue
		}
		d := distance(strings.ToLower(short), strings.ToLower(name))
		if strings.HasSuffix(short, "/"+name) || strings.TrimPrefix(short, "v") == strings.TrimPrefix(name, "v") {
			d = 0
		}
		if d <= limit {
			found = append(found, candidate{short, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		if a.distance != b.distance {
			return a.distance - b.distance
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, c := range found {
		names = append(names, printable(c.name, 100))
	}
	names = slices.Compact(names)
	return names[:min(3, len(names))]
}

func shortName(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, branches), tags)
}

// distance is Levenshtein's: how many letters to insert, delete or replace.
func distance(a, b string) int {
	if len(b) > 100 {
		return len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := before
			if a[i] != b[j] {
				replace++
			}
			before = row[j+1]
			row[j+1] = min(replace, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// hint is the remedy for a revision that does not exist.
func (t *refTable) hint(revision string) string {
	if names := t.similar(revision); len(names) > 0 {
		return fmt.Sprintf("did you mean %s?", strings.Join(names, ", "))
	}
	return "name a branch, a tag, a commit or semver:<range>; if it was just pushed, wait for the next fetch"
}
