package render_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
)

// memo is a Memo with a clock to turn and runs to count.
type memo struct {
	*render.Memo
	dir    string
	now    atomic.Int64 // seconds
	runs   atomic.Int64
	pool   *render.Pool
	cached *render.Cache
}

func newMemo(t testing.TB, maxBytes int64) *memo {
	t.Helper()
	m := &memo{dir: filepath.Join(t.TempDir(), "render"), pool: newPool(t, render.PoolConfig{Workers: 2})}
	m.now.Store(1_800_000_000)
	m.reopen(t, maxBytes)
	return m
}

func (m *memo) clock() time.Time { return time.Unix(m.now.Load(), 0) }

// reopen does what a restart does.
func (m *memo) reopen(t testing.TB, maxBytes int64) {
	t.Helper()
	var err error
	if m.cached, err = render.OpenCache(m.dir, maxBytes, m.clock); err != nil {
		t.Fatal(err)
	}
	m.Memo = render.NewMemo(render.MemoConfig{
		Pool: m.pool, Cache: m.cached, Now: m.clock,
		Hooks: render.Hooks{
			Rendered: func(render.Renderer, time.Duration, error) { m.runs.Add(1) },
			NotKept:  func(err error) { t.Errorf("not kept: %v", err) },
		},
	})
}

// want renders and checks whether that took a run.
func (m *memo) want(t *testing.T, fresh bool, tree memtree.Tree, o render.Options) *render.Result {
	t.Helper()
	before := m.runs.Load()
	r, err := m.Render(t.Context(), tree, o)
	if err != nil {
		t.Fatal(err)
	}
	if ran := m.runs.Load() > before; ran != fresh || r.FromCache == fresh {
		t.Errorf("it ran: %v (FromCache %v), want %v", ran, r.FromCache, fresh)
	}
	return r
}

var appA = render.Options{Path: "a", Renderer: files}

func TestMemoKeepsWhatHolds(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "see: c/d", "a/README.md": "1", "c/d": "x", "e": "y"}
	first := m.want(t, true, tree, appA)
	m.want(t, false, tree, appA)
	tree["e"] = "elsewhere"
	tree["a/README.md"] = "listed, but not read"
	second := m.want(t, false, tree, appA)
	if first.Key.Digest() != second.Key.Digest() || data(t, first, "pid") != data(t, second, "pid") {
		t.Error("the kept result is another one")
	}
	tree["c/d"] = "followed"
	m.want(t, true, tree, appA)
	tree["a/new"] = "a new file counts"
	m.want(t, true, tree, appA)
	delete(tree, "a/new")
	m.want(t, false, tree, appA) // as before the last commit
	tree["a/b"] = "see: c/none"
	m.want(t, true, tree, appA)
	tree["c/none"] = "a look-up that failed counts"
	m.want(t, true, tree, appA)
}

func TestMemoCompactsDirectories(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{}
	for i := range 100 {
		tree[fmt.Sprintf("a/d%d/f%d", i%3, i)] = "x"
	}
	r := m.want(t, true, tree, appA)
	if len(r.Key.Facts) != 1 || r.Key.Facts[0].Name != "a" || r.Key.Facts[0].Saw != render.SawContent {
		t.Errorf("facts %+v", r.Key.Facts)
	}
	tree["x/y"] = "outside"
	tree["a/d0/link"] = memtree.Link + "../../x/y"
	r = m.want(t, true, tree, appA)
	if len(r.Key.Facts) < 30 || len(r.Key.Facts) > 45 {
		t.Errorf("%d facts: a directory with a link is not covered by its id, the others are", len(r.Key.Facts))
	}
	tree["x/y"] = "changed"
	m.want(t, true, tree, appA)
}

func TestMemoConsultedOptions(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	with := func(version string, upgrade, consults bool) render.Options {
		o := appA
		o.Capabilities.KubeVersion, o.IsUpgrade, o.SkipCRDs = version, upgrade, consults
		return o
	}
	m.want(t, true, tree, with("v1.35.0", false, false))
	m.want(t, false, tree, with("v1.36.0", true, false))
	m.want(t, true, tree, with("v1.35.0", false, true))
	m.want(t, true, tree, with("v1.36.0", false, true))
	r := m.want(t, false, tree, with("v1.35.0", true, true))
	if data(t, r, "kube") != "v1.35.0" {
		t.Error("the result of another version")
	}
	o := appA
	o.Namespace = "other"
	m.want(t, true, tree, o)
	o.Values = map[string]any{"a": 1.0, "b": []any{"c"}}
	m.want(t, true, tree, o)
	m.want(t, false, tree, o)
}

func TestMemoAnswersWithMore(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	more := appA
	more.FieldOrigins = true
	m.want(t, true, tree, more)
	m.want(t, false, tree, appA)
	tree["a/b"] = "y"
	m.want(t, true, tree, appA)
	m.want(t, true, tree, more)
}

func TestMemoScopes(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	one, two := appA, appA
	one.ReleaseName, two.ReleaseName = "random", "random"
	one.Scope, two.Scope = "team-a/app", "team-b/app"
	secret := data(t, m.want(t, true, tree, one), "random")
	if data(t, m.want(t, true, tree, two), "random") == secret {
		t.Error("one scope is given the secrets of another")
	}
	tree["c"] = "unrelated"
	m.reopen(t, 1<<20)
	if data(t, m.want(t, false, tree, one), "random") != secret {
		t.Error("a random value changed although no input did")
	}
}

func TestMemoSurvivesRestart(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	digest := m.want(t, true, tree, appA).Key.Digest()
	m.reopen(t, 1<<20)
	if key, ok := m.Holding(tree, appA); !ok || key.Digest() != digest {
		t.Error("Holding does not know it")
	}
	if r, ok := m.Lookup(digest); !ok || data(t, r, "a/b") != "x" {
		t.Error("Lookup does not know it")
	}
	m.want(t, false, tree, appA)
	info, err := os.Stat(m.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, f := range m.cacheFiles(t) {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, info.Mode(), err)
		}
	}
}

func (m *memo) cacheFiles(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(m.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestMemoDamage damages each byte region of the file in turn.
func TestMemoDamage(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	m.want(t, true, tree, appA)
	name := m.cacheFiles(t)[0]
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 37 {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x40
		for _, content := range [][]byte{bad, good[:at]} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			m.reopen(t, 1<<20)
			m.want(t, true, tree, appA)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	m.want(t, true, tree, appA)
}

func TestCacheEviction(t *testing.T) {
	const bound = 20_000
	m := newMemo(t, bound)
	tree := memtree.Tree{}
	app := func(i int) render.Options {
		return render.Options{Path: fmt.Sprintf("app%d", i), Renderer: files}
	}
	for i := range 40 {
		tree[fmt.Sprintf("app%d/f", i)] = strings.Repeat("x", 500)
	}
	precious := app(0)
	precious.ReleaseName = "random"
	m.want(t, true, tree, precious)
	for i := 1; i < 40; i++ {
		m.now.Add(10)
		m.want(t, true, tree, app(i))
		m.want(t, false, tree, app(1)) // used all the time
	}
	total := int64(0)
	for _, f := range m.cacheFiles(t) {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > bound || total < bound/2 {
		t.Errorf("%d bytes are kept, the bound is %d", total, bound)
	}
	m.want(t, false, tree, app(1))
	m.want(t, false, tree, app(39))
	m.want(t, false, tree, precious)
	m.want(t, true, tree, app(2))
	m.reopen(t, bound/4)
	m.want(t, false, tree, precious)
}

func TestMemoFlight(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	var all sync.WaitGroup
	results := make([]*render.Result, 20)
	for i := range results {
		all.Go(func() {
			r, err := m.Render(t.Context(), tree, appA)
			if err != nil {
				t.Error(err)
				return
			}
			r.Output.Objects[0].SetName(fmt.Sprint(i)) // the caller owns it
			results[i] = r
		})
	}
	all.Wait()
	if n := m.runs.Load(); n != 1 {
		t.Errorf("%d runs for equal requests", n)
	}
	for i, r := range results {
		if r != nil && r.Output.Objects[0].GetName() != fmt.Sprint(i) {
			t.Error("callers share an object")
		}
	}
}

// hesitant is a Snapshot that does something before it says what commit it is:
// between the look at what is kept and the run.
type hesitant struct {
	memtree.Tree
	first func()
}

func (h hesitant) Commit() mizzen.Commit {
	h.first()
	return h.Tree.Commit()
}

// TestMemoLooksAgain: an equal run may end after a request has looked at what is
// kept, and before it starts a run of its own.
func TestMemoLooksAgain(t *testing.T) {
	m := newMemo(t, 1<<20)
	for content, kind := range map[string]mizzen.Kind{"x": "", "fail": mizzen.Invalid} {
		before := m.runs.Load()
		tree := memtree.Tree{"a/b": content}
		ask := func(s mizzen.Snapshot) (*render.Result, error) {
			r, err := m.Render(t.Context(), s, appA)
			if mizzen.KindOf(err) != kind {
				t.Errorf("%s: got %v", content, err)
			}
			return r, err
		}
		r, err := ask(hesitant{tree, sync.OnceFunc(func() { _, _ = ask(tree) })})
		if err == nil && !r.FromCache {
			t.Errorf("%s: the kept result is not the answer", content)
		}
		if n := m.runs.Load() - before; n != 1 {
			t.Errorf("%s: %d runs for equal requests", content, n)
		}
	}
}

// TestMemoFlightCancel: a request that gives up must not take others along.
func TestMemoFlightCancel(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "x"}
	o := render.Options{Path: "a", Renderer: touchy, ReleaseName: "wait"}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range 3 {
		go func() {
			_, err := m.Render(ctx, tree, o)
			done <- err
		}()
	}
	waitFor(t, "the worker", func() bool { return len(children(t)) == 1 })
	cancel()
	for range 3 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	waitFor(t, "the run to be ended", func() bool { return m.runs.Load() >= 1 && len(children(t)) == 0 })
}

func TestMemoRemembersFailures(t *testing.T) {
	m := newMemo(t, 1<<20)
	tree := memtree.Tree{"a/b": "fail", "c": "x"}
	fails := func(fresh bool) {
		t.Helper()
		before := m.runs.Load()
		_, err := m.Render(t.Context(), tree, appA)
		if mizzen.KindOf(err) != mizzen.Invalid || !strings.Contains(err.Error(), "a/b says so") {
			t.Errorf("got %v", err)
		}
		if ran := m.runs.Load() > before; ran != fresh {
			t.Errorf("it ran: %v, want %v", ran, fresh)
		}
	}
	fails(true)
	fails(false)
	tree["c"] = "unrelated"
	fails(false)
	m.now.Add(int64(render.FailureMemory / time.Second))
	fails(true)
	tree["a/b"] = "mended"
	m.want(t, true, tree, appA)
	tree["a/b"] = "fail"
	fails(false)

	crash := render.Options{Path: "a", Renderer: touchy, ReleaseName: "exit"}
	before := m.runs.Load()
	for range 2 {
		if _, err := m.Render(t.Context(), tree, crash); mizzen.KindOf(err) != mizzen.Internal {
			t.Errorf("got %v", err)
		}
	}
	if m.runs.Load() != before+2 {
		t.Error("a crash is remembered, although it may not come from the files")
	}
}

// A chart without an end is not run again for every commit.
func TestMemoRemembersTimeouts(t *testing.T) {
	m := newMemo(t, 1<<20)
	m.pool = newPool(t, render.PoolConfig{Workers: 2, Timeout: 200 * time.Millisecond})
	m.reopen(t, 1<<20)
	tree := memtree.Tree{"a/b": "x", "c": "x"}
	for _, name := range []string{"loop", "be late"} {
		o := render.Options{Path: "a", Renderer: touchy, ReleaseName: name}
		before := m.runs.Load()
		for range 3 {
			tree["c"] += "another commit"
			if _, err := m.Render(t.Context(), tree, o); mizzen.KindOf(err) != mizzen.Timeout {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if ran := m.runs.Load() - before; ran != 1 {
			t.Errorf("%s: it ran %d times", name, ran)
		}
	}
}

// A result of other code is not an answer, nor one for other options.
func TestKeyMatches(t *testing.T) {
	m := newMemo(t, 1<<20)
	o := render.Options{Path: "a", Renderer: files, SkipCRDs: true, Scope: "team/app"}
	o.Capabilities.KubeVersion = "v1.36.0"
	r, err := m.Render(t.Context(), memtree.Tree{"a/b": "x"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Key.Matches(o) {
		t.Error("the Key does not match what it was made of")
	}
	other := o
	other.IsUpgrade = true
	if !r.Key.Matches(other) {
		t.Error("what was not consulted counts")
	}
	other = o
	other.Capabilities.KubeVersion = "v1.35.0"
	if r.Key.Matches(other) {
		t.Error("what was consulted does not count")
	}
	newer := r.Key
	newer.Versions += " helm@v5"
	if newer.Matches(o) || newer.Digest() == r.Key.Digest() || newer.Identity() == r.Key.Identity() {
		t.Error("the code that rendered does not count")
	}
	o.FieldOrigins = true
	more, err := m.Render(t.Context(), memtree.Tree{"a/b": "x"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if more.Key.Digest() == r.Key.Digest() || more.Key.Identity() != r.Key.Identity() {
		t.Error("origins change the identity, or do not change the digest")
	}
}

// TestDigestIsStable pins a digest: it may change only with the meaning of a
// Key, since results in every state directory are found by it.
func TestDigestIsStable(t *testing.T) {
	k := render.Key{
		Renderer: render.Helm, Scope: "team/app", Versions: "helm@v4",
		Options:   render.Options{Path: "charts/a", Values: map[string]any{"b": 1, "a": true}},
		Consulted: render.Consulted{IsUpgrade: true},
		Facts:     []render.Fact{{Name: "charts/a", Saw: render.SawContent, ID: "1234"}, {Name: "x", Saw: render.SawAbsent}},
	}
	const want = "f299497f3d4cbbea243d1c9547eae35e1cfc1fed7186bed0d63549ff3cabc36c"
	if got := k.Digest(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
