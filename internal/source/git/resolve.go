package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/Masterminds/semver/v3"

	"mizzen.dev/mizzen"
)

// Range begins a revision that is a semver range over tags.
const Range = "semver:"

// Resolve returns the commit that a revision stands for, as of the last fetch:
// a branch, a tag, a full or abbreviated commit id, "semver:" and a range over
// tags (the highest version wins), "HEAD" or "" for the remote's default
// branch, or a full name such as refs/heads/main. A branch comes before a tag
// of the same name, and both before an abbreviated id.
//
// It fails with Kind NotFound, with what may have been meant, and with Kind
// Invalid for what can be no revision.
func (m *Mirror) Resolve(ctx context.Context, revision string) (mizzen.Commit, error) {
	if err := m.valid(revision); err != nil {
		return mizzen.Commit{}, err
	}
	if err := ctx.Err(); err != nil {
		return mizzen.Commit{}, context.Cause(ctx)
	}
	t, err := m.table(ctx)
	if err != nil {
		return mizzen.Commit{}, err
	}
	if within, ok := strings.CutPrefix(revision, Range); ok {
		return m.resolveRange(t, revision, within)
	}
	if fullID(strings.ToLower(revision)) {
		return m.resolveID(revision)
	}
	names := []string{branches + revision, tags + revision}
	switch {
	case revision == "" || revision == "HEAD":
		names = []string{headRef}
	case strings.HasPrefix(revision, "refs/"):
		names = append(names, revision)
	}
	for _, name := range names {
		if id, ok := t.ids[name]; ok {
			return m.resolveRef(name, id)
		}
	}
	return m.resolveAbbreviated(t, revision)
}

func (m *Mirror) about(revision string) string {
	return fmt.Sprintf("revision %q of %s", printable(revision, 256), m.URL())
}

// valid refuses what no ref is called (see git-check-ref-format) and what Git
// would take for an expression or an option.
func (m *Mirror) valid(revision string) error {
	within, isRange := strings.CutPrefix(revision, Range)
	bad := len(revision) > 256 || strings.HasPrefix(within, "-") || strings.ContainsFunc(within, unicode.IsControl)
	if !isRange {
		bad = bad || strings.ContainsAny(within, " ~^:?*[\\") || strings.Contains(within, "..") || strings.Contains(within, "@{")
	}
	if bad {
		return &mizzen.Error{
			Kind: mizzen.Invalid, Object: m.about(revision), Err: errors.New("no branch or tag can be called that"),
			Remedy: "name a branch, a tag, a commit or semver:<range>",
		}
	}
	return nil
}

func (m *Mirror) resolveRange(t *refTable, revision, within string) (mizzen.Commit, error) {
	constraint, err := semver.NewConstraint(within)
	if err != nil {
		return mizzen.Commit{}, &mizzen.Error{
			Kind: mizzen.Invalid, Object: m.about(revision), Err: err,
			Remedy: `write a range such as "semver:>=1.2 <2" or "semver:~1.4"`,
		}
	}
	ref, ok := t.highest(constraint)
	if !ok {
		return mizzen.Commit{}, &mizzen.Error{
			Kind: mizzen.NotFound, Object: m.about(revision),
			Err:    fmt.Errorf("no tag is in the range, of %d tags that are versions", len(t.versions)),
			Remedy: "widen the range, or push a tag; pre-releases count only if the range names one, as >=1.2-0 does",
		}
	}
	return m.resolveRef(ref, t.ids[ref])
}

func (m *Mirror) resolveRef(name string, id oid) (mizzen.Commit, error) {
	key := cacheKey{m.objects, 'r', string(id)}
	if v, ok := m.cache.get(key); ok {
		return m.describe(v.(oid), name)
	}
	peeled, err := m.peel(id.hex())
	if errors.Is(err, errNoObject) {
		if _, err := m.header(id); err != nil {
			return mizzen.Commit{}, m.suspect(err)
		}
		return mizzen.Commit{}, &mizzen.Error{
			Kind: mizzen.Invalid, Object: m.about(name), Err: errors.New("it does not point to a commit"),
			Remedy: "name a branch, or a tag of a commit",
		}
	}
	if err != nil {
		return mizzen.Commit{}, m.suspect(broken(id.hex(), err))
	}
	m.cache.put(key, peeled, 0)
	return m.describe(peeled, name)
}

func (m *Mirror) resolveID(revision string) (mizzen.Commit, error) {
	id, err := parseID(strings.ToLower(revision))
	if err != nil {
		return mizzen.Commit{}, err
	}
	return m.describe(id, revision)
}

// resolveAbbreviated is the last resort for a revision that is no ref.
func (m *Mirror) resolveAbbreviated(t *refTable, revision string) (mizzen.Commit, error) {
	missing := &mizzen.Error{
		Kind: mizzen.NotFound, Object: m.about(revision), Err: errors.New("there is no such branch, tag or commit"),
		Remedy: t.hint(revision),
	}
	short := strings.ToLower(revision)
	if len(short) < 4 || !isHex(short) {
		if revision == "" || revision == "HEAD" {
			missing.Err, missing.Remedy = errors.New("the repository has no default branch"), "name a branch"
		}
		return mizzen.Commit{}, missing
	}
	id, err := m.peel(short)
	switch {
	case errors.Is(err, errAmbiguous):
		return mizzen.Commit{}, &mizzen.Error{
			Kind: mizzen.Invalid, Object: m.about(revision), Err: errors.New("more than one commit begins like that"),
			Remedy: "write more digits of the id",
		}
	case errors.Is(err, errNoObject):
		return mizzen.Commit{}, missing
	case err != nil:
		return mizzen.Commit{}, m.suspect(broken(short, err))
	}
	return m.describe(id, revision)
}

// suspect says that what a ref names cannot be read.
func (m *Mirror) suspect(err error) error {
	var u *unreadable
	if errors.As(err, &u) {
		return m.objects.damage(u)
	}
	return err
}

// describe returns a commit by its id.
func (m *Mirror) describe(id oid, revision string) (mizzen.Commit, error) {
	c, err := m.commit(id)
	if errors.Is(err, errNoObject) {
		return mizzen.Commit{}, m.lost(id.hex(), revision)
	}
	if err != nil {
		return mizzen.Commit{}, m.suspect(err)
	}
	return c.Commit, nil
}

func (m *Mirror) lost(id, revision string) error {
	return &mizzen.Error{
		Kind: mizzen.NotFound, Object: m.about(revision), Err: fmt.Errorf("commit %s is in no branch or tag, and not kept here", id),
		Remedy: "push it to a branch again, or name another revision; if it was just pushed, wait for the next fetch",
	}
}

// Snapshot returns the content of a commit, by its full id. It fails with Kind
// NotFound if the mirror has no such commit.
func (m *Mirror) Snapshot(ctx context.Context, commitID string) (*Snapshot, error) {
	c, err := m.find(ctx, commitID)
	if err != nil {
		return nil, err
	}
	return newSnapshot(m.objects, c), nil
}

// find returns a commit by its full id.
func (m *Mirror) find(ctx context.Context, commitID string) (*commit, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	id, err := parseID(commitID)
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: m.about(commitID), Err: err, Remedy: "resolve the revision first"}
	}
	c, err := m.commit(id)
	if errors.Is(err, errNoObject) {
		return nil, m.lost(commitID, commitID)
	}
	return c, m.suspect(err)
}
