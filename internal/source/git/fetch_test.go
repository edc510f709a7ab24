package git_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

func TestFetchSeesEachChangeOnce(t *testing.T) {
	u := newUpstream(t)
	first := u.push("a", "1")
	m := mirror(t, u)
	if got := resolve(t, m, "main").ID; got != first {
		t.Fatalf("main is at %s, want %s", got, first)
	}
	if fetch(t, m).Changed {
		t.Error("a fetch without news says that something changed")
	}
	second := u.push("a", "2")
	if !fetch(t, m).Changed {
		t.Error("a fetch with news says that nothing changed")
	}
	if got := resolve(t, m, "main").ID; got != second {
		t.Errorf("main is at %s, want %s", got, second)
	}
	u.git("branch", "topic")
	u.git("tag", "v1")
	fetch(t, m)
	resolve(t, m, "topic")
	u.git("branch", "-D", "topic")
	u.git("tag", "-d", "v1")
	if !fetch(t, m).Changed {
		t.Error("the deletion of a branch is not seen")
	}
	_, err := m.Resolve(t.Context(), "topic")
	wantError(t, err, mizzen.NotFound)
	_, err = m.Resolve(t.Context(), "v1")
	wantError(t, err, mizzen.NotFound)
}

func TestResolve(t *testing.T) {
	u := newUpstream(t)
	first := u.push("a", "1")
	u.git("tag", "light")
	u.git("tag", "-a", "v1.2.0", "-m", "a release")
	second := u.push("a", "2")
	u.git("tag", "1.10.0")
	u.git("tag", "-a", "v2.0.0-rc.1", "-m", "a candidate")
	u.git("tag", "-a", "-m", "a tag of a tag", "nested", "v1.2.0")
	u.git("branch", "feature/login")
	u.git("branch", "v1.2.0")
	m := mirror(t, u)
	cases := map[string]string{
		"main":                  second,
		"":                      second,
		"HEAD":                  second,
		"feature/login":         second,
		"refs/heads/main":       second,
		"light":                 first,
		"refs/tags/v1.2.0":      first,
		"v1.2.0":                second, // a branch comes first
		"nested":                first,
		first:                   first,
		strings.ToUpper(first):  first,
		first[:10]:              first,
		"semver:^1":             second,
		"semver:~1.2":           first,
		"semver:>=1.0 <1.10":    first,
		"semver:>=2.0.0-0":      second,
		"semver:1.2.0 || 1.9.x": first,
	}
	for revision, want := range cases {
		if got, err := m.Resolve(t.Context(), revision); err != nil || got.ID != want {
			t.Errorf("Resolve(%q) = %s, %v, want %s", revision, got.ID, err, want)
		}
	}
	want := mizzen.Commit{ID: first, Author: "Ada Lovelace", Subject: "change a"}
	got := resolve(t, m, first)
	if got.Time.Year() != 2023 {
		t.Errorf("the commit's time is %v", got.Time)
	}
	got.Time = time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResolveSaysWhatWasMeant(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	u.git("branch", "release/2024")
	u.git("tag", "v1.0.0")
	blob := u.git("rev-parse", "HEAD:a")
	u.git("tag", "blob", blob)
	m := mirror(t, u)
	cases := []struct {
		revision string
		kind     mizzen.Kind
		words    []string
	}{
		{"mian", mizzen.NotFound, []string{`revision "mian"`, "did you mean main?"}},
		{"2024", mizzen.NotFound, []string{"did you mean release/2024?"}},
		{"1.0.0", mizzen.NotFound, []string{"did you mean v1.0.0?"}},
		{"nothing-like-it-at-all", mizzen.NotFound, []string{"name a branch, a tag, a commit"}},
		{"semver:>=3", mizzen.NotFound, []string{"no tag is in the range", "of 1 tags"}},
		{"semver:banana", mizzen.Invalid, []string{"write a range such as"}},
		{"blob", mizzen.Invalid, []string{"does not point to a commit"}},
		{strings.Repeat("a", 40), mizzen.NotFound, []string{"is in no branch or tag"}},
		{blob, mizzen.NotFound, []string{"is in no branch or tag"}},
		{"abcdef", mizzen.NotFound, nil},
		{"--upload-pack=touch /tmp/x", mizzen.Invalid, nil},
		{"main~1", mizzen.Invalid, nil},
		{"main..topic", mizzen.Invalid, nil},
		{"main\ncontents HEAD", mizzen.Invalid, nil},
		{"@{u}", mizzen.Invalid, nil},
		{strings.Repeat("x", 300), mizzen.Invalid, nil},
	}
	for _, c := range cases {
		_, err := m.Resolve(t.Context(), c.revision)
		wantError(t, err, c.kind, c.words...)
	}
}

func TestEmptyRepository(t *testing.T) {
	u := newUpstream(t)
	m := open(t, newStore(t, git.Options{}), git.Remote{URL: u.url()})
	_, err := m.Resolve(t.Context(), "main")
	wantError(t, err, mizzen.NotFound, "was never fetched")
	fetch(t, m)
	_, err = m.Resolve(t.Context(), "main")
	wantError(t, err, mizzen.NotFound, "no such branch")
	first := u.push("a", "1")
	fetch(t, m)
	if got := resolve(t, m, "HEAD").ID; got != first {
		t.Errorf("HEAD is %s, want %s", got, first)
	}
	// A HEAD that points nowhere any more is no obstacle.
	u.git("branch", "other")
	u.git("symbolic-ref", "HEAD", "refs/heads/gone")
	fetch(t, m)
	_, err = m.Resolve(t.Context(), "HEAD")
	wantError(t, err, mizzen.NotFound, "no default branch")
}

func TestMirrorSurvivesRestart(t *testing.T) {
	u := newUpstream(t)
	first := u.push("a", "1")
	dir := filepath.Join(t.TempDir(), "state")
	before := openStore(t, dir, git.Options{})
	m := open(t, before, git.Remote{URL: u.url()})
	fetch(t, m)
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Snapshot(t.Context(), first); err == nil {
		t.Error("a closed store still reads")
	}
	// The server is away; what was fetched can still be read.
	if err := os.Rename(u.dir, u.dir+".away"); err != nil {
		t.Fatal(err)
	}
	again := open(t, openStore(t, dir, git.Options{}), git.Remote{URL: u.url()})
	if got := resolve(t, again, "main").ID; got != first {
		t.Errorf("main is at %s, want %s", got, first)
	}
	_, err := again.Fetch(t.Context())
	wantError(t, err, mizzen.NotFound, "repository "+u.url(), "there is no such repository", "check the URL")
}

func TestForcedPush(t *testing.T) {
	u := newUpstream(t)
	base := u.push("a", "1")
	old := u.push("a", "2")
	m := mirror(t, u)
	if err := m.Keep(t.Context(), "shop/web", old); err != nil {
		t.Fatal(err)
	}
	u.git("reset", "-q", "--hard", base)
	tip := u.push("a", "3")
	u.git("reflog", "expire", "--expire=now", "--all")
	u.git("gc", "-q", "--prune=now")
	fetch(t, m)
	if got := resolve(t, m, "main").ID; got != tip {
		t.Fatalf("main is at %s, want %s", got, tip)
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{{old, tip, false}, {base, tip, true}, {tip, tip, true}, {tip, base, false}} {
		if got, err := m.IsAncestor(t.Context(), c.a, c.b); err != nil || got != c.want {
			t.Errorf("IsAncestor(%s, %s) = %v, %v, want %v", c.a, c.b, got, err, c.want)
		}
	}
	_, err := m.IsAncestor(t.Context(), strings.Repeat("0", 40), tip)
	wantError(t, err, mizzen.NotFound)
	paths, err := m.ChangedPaths(t.Context(), base, tip)
	if diff := cmp.Diff([]string{"a"}, paths); diff != "" || err != nil {
		t.Error(diff, err)
	}
	s, err := m.Snapshot(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := s.ReadFile("a"); err != nil || string(data) != "2" {
		t.Errorf("the kept commit reads %q, %v", data, err)
	}
}

func TestKeep(t *testing.T) {
	u := newUpstream(t)
	one, two := u.push("a", "1"), u.push("a", "2")
	dir := filepath.Join(t.TempDir(), "state")
	store := openStore(t, dir, git.Options{})
	m := open(t, store, git.Remote{URL: u.url()})
	fetch(t, m)
	keep := func(m *git.Mirror, holder string, ids ...string) {
		t.Helper()
		if err := m.Keep(t.Context(), holder, ids...); err != nil {
			t.Fatal(err)
		}
	}
	want := func(m *git.Mirror, ids ...string) {
		t.Helper()
		got, err := m.Kept(t.Context())
		if err != nil || len(got) != len(ids) {
			t.Errorf("kept are %v, %v, want %v", got, err, ids)
		}
	}
	keep(m, "a", one, two)
	keep(m, "b", one)
	want(m, one, two)
	keep(m, "a", two)
	want(m, one, two)
	keep(m, "b")
	want(m, two)
	keep(m, "b", one)
	wantError(t, m.Keep(t.Context(), "b", strings.Repeat("1", 40)), mizzen.NotFound, "not kept here")
	want(m, one, two)
	_ = store.Close()

	again := open(t, openStore(t, dir, git.Options{}), git.Remote{URL: u.url()})
	want(again, one, two)
	keep(again, "a", two)
	if err := again.ReleaseUnclaimed(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(again, two)
}

func TestConcurrentUse(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	m := mirror(t, u)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := m.Fetch(t.Context()); err != nil {
					t.Error(err)
				}
				c, err := m.Resolve(t.Context(), "main")
				if err != nil {
					t.Error(err)
					return
				}
				s, err := m.Snapshot(t.Context(), c.ID)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.ReadFile("a"); err != nil {
					t.Error(err)
				}
				if err := m.Keep(t.Context(), string(rune('a'+i)), c.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		u.push("a", time.Now().String())
	}
	wg.Wait()
}

func TestTwoStoresShareADirectory(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	dir := filepath.Join(t.TempDir(), "state")
	one := open(t, openStore(t, dir, git.Options{}), git.Remote{URL: u.url()})
	two := open(t, openStore(t, dir, git.Options{}), git.Remote{URL: u.url()})
	var wg sync.WaitGroup
	for _, m := range []*git.Mirror{one, two} {
		wg.Go(func() {
			for range 5 {
				if _, err := m.Fetch(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if resolve(t, one, "main") != resolve(t, two, "main") {
		t.Error("the stores disagree")
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	m := open(t, newStore(t, git.Options{}), git.Remote{URL: u.url()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Fetch(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("fetch with a context that ended: %v", err)
	}
	fetch(t, m)
}

func TestPrune(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	dir := filepath.Join(t.TempDir(), "state")
	store := openStore(t, dir, git.Options{})
	m := open(t, store, git.Remote{URL: u.url()})
	fetch(t, m)
	if err := store.Prune(t.Context(), func(key string) bool { return key == m.Key() }); err != nil {
		t.Fatal(err)
	}
	resolve(t, m, "main")
	if err := store.Prune(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, m.Key())); !os.IsNotExist(err) {
		t.Errorf("the mirror is still there: %v", err)
	}
	fetch(t, open(t, store, git.Remote{URL: u.url()}))
}

func TestMirrorOutgrowsItsLimit(t *testing.T) {
	u := newUpstream(t)
	for i := range 30 {
		u.write(filepath.Join("big", string(rune('a'+i))), noise(int64(i), 1<<20))
	}
	u.commit("a lot")
	m := open(t, newStore(t, git.Options{MaxMirrorBytes: 1 << 20}), git.Remote{URL: u.url()})
	// Whether the watch is quick enough depends on the machine; what was
	// fetched despite of it counts at the next fetch.
	_, err := m.Fetch(t.Context())
	if err == nil {
		u.push("b", "1")
		_, err = m.Fetch(t.Context())
	}
	wantError(t, err, mizzen.TooLarge, "beyond its limit of 1 MiB")
}
