package git_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

// objectFiles lists the files of a mirror's objects, packs and their indexes
// included.
func objectFiles(t testing.TB, repo string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(repo, "objects"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func rewrite(t testing.TB, file string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// Git makes objects read-only.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if data = change(data); data == nil {
		return
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// damages are what disks, crashes and people do to a mirror.
var damages = map[string]func(t testing.TB, repo string){
	"objects cut in half": func(t testing.TB, repo string) {
		for _, f := range objectFiles(t, repo) {
			rewrite(t, f, func(b []byte) []byte { return b[:len(b)/2] })
		}
	},
	"objects empty": func(t testing.TB, repo string) {
		for _, f := range objectFiles(t, repo) {
			rewrite(t, f, func([]byte) []byte { return []byte{} })
		}
	},
	"objects gone": func(t testing.TB, repo string) {
		for _, f := range objectFiles(t, repo) {
			rewrite(t, f, func([]byte) []byte { return nil })
		}
	},
	"bits flipped": func(t testing.TB, repo string) {
		for _, f := range objectFiles(t, repo) {
			rewrite(t, f, func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b })
		}
	},
	"garbage in HEAD": func(t testing.TB, repo string) {
		rewrite(t, filepath.Join(repo, "HEAD"), func([]byte) []byte { return []byte("garbage\n") })
	},
	"no HEAD": func(t testing.TB, repo string) {
		rewrite(t, filepath.Join(repo, "HEAD"), func([]byte) []byte { return nil })
	},
	"garbage in config": func(t testing.TB, repo string) {
		rewrite(t, filepath.Join(repo, "config"), func([]byte) []byte { return []byte("[[[") })
	},
	"no objects directory": func(t testing.TB, repo string) {
		if err := os.RemoveAll(filepath.Join(repo, "objects")); err != nil {
			t.Fatal(err)
		}
	},
	"garbage in refs": func(t testing.TB, repo string) {
		rewrite(t, filepath.Join(repo, "packed-refs"), func([]byte) []byte { return []byte("garbage\n") })
	},
	"mirror gone": func(t testing.TB, repo string) {
		if err := os.RemoveAll(repo); err != nil {
			t.Fatal(err)
		}
	},
}

func TestDamagedMirrorIsMadeAnew(t *testing.T) {
	for name, damage := range damages {
		for _, packed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s packed=%v", name, packed), func(t *testing.T) {
				u := newUpstream(t)
				u.write("apps/web/a.yaml", noise(1, 2000))
				u.commit("first")
				dir := filepath.Join(t.TempDir(), "state")
				store := openStore(t, dir, git.Options{})
				m := open(t, store, git.Remote{URL: u.url()})
				fetch(t, m)
				_ = store.Close()
				repo := filepath.Join(dir, m.Key(), "repo.git")
				for _, name := range []string{"packed-refs.lock", "packed-refs.new"} { // of an interrupted maintenance
					_ = os.Remove(filepath.Join(repo, name))
				}
				if packed {
					(&upstream{t: t, dir: repo}).git("gc", "-q")
				}
				if _, err := os.Stat(filepath.Join(repo, "packed-refs")); err != nil {
					(&upstream{t: t, dir: repo}).git("pack-refs", "--all")
				}
				damage(t, repo)

				m = open(t, openStore(t, dir, git.Options{}), git.Remote{URL: u.url()})
				tip := u.push("apps/web/b.yaml", "2")
				recovers(t, m, tip)
			})
		}
	}
}

// recovers reads everything at a commit. One failed read and one more fetch
// are allowed: some damage is only seen by reading.
func recovers(t *testing.T, m *git.Mirror, tip string) {
	t.Helper()
	read := func() error {
		s, err := m.Snapshot(t.Context(), tip)
		if err != nil {
			return err
		}
		for _, name := range []string{"apps/web/a.yaml", "apps/web/b.yaml"} {
			if _, err := s.ReadFile(name); err != nil {
				return err
			}
		}
		return nil
	}
	first := fetch(t, m)
	err := read()
	if err == nil {
		return
	}
	wantError(t, err, mizzen.Unreachable, "the local copy of the repository is damaged")
	second := fetch(t, m)
	if first.Rebuilt == "" && second.Rebuilt == "" {
		t.Error("the mirror was not made anew")
	}
	if err := read(); err != nil {
		t.Errorf("after two fetches: %v", err)
	}
}

func TestRebuildSavesWhatIsKept(t *testing.T) {
	u := newUpstream(t)
	base := u.push("a", "1")
	old := u.push("a", "2")
	m := mirror(t, u)
	if err := m.Keep(t.Context(), "shop/web", old); err != nil {
		t.Fatal(err)
	}
	u.git("reset", "-q", "--hard", base)
	u.push("a", "3")
	fetch(t, m)
	repo := m.Dir()
	damages["garbage in HEAD"](t, repo)
	result := fetch(t, m)
	if result.Rebuilt == "" || len(result.Lost) != 0 {
		t.Errorf("the rebuild: %+v", result)
	}
	if _, err := m.Snapshot(t.Context(), old); err != nil {
		t.Errorf("the kept commit: %v", err)
	}

	// Gone from the server too: it is lost, and that is said.
	u.git("reflog", "expire", "--expire=now", "--all")
	u.git("gc", "-q", "--prune=now")
	damages["objects gone"](t, repo)
	result, err := m.Fetch(t.Context())
	if err == nil && result.Rebuilt == "" {
		_, _ = resolveFresh(m)
		result = fetch(t, m)
	}
	if len(result.Lost) != 1 || result.Lost[0] != old {
		t.Errorf("the rebuild: %+v, %v", result, err)
	}
	_, err = m.Snapshot(t.Context(), old)
	wantError(t, err, mizzen.NotFound, "is in no branch or tag")
	resolve(t, m, "main")
}

// resolveFresh reads the tip's tree, which no cache has yet.
func resolveFresh(m *git.Mirror) (fs.FileInfo, error) {
	c, err := m.Resolve(context.Background(), "main")
	if err != nil {
		return nil, err
	}
	s, err := m.Snapshot(context.Background(), c.ID)
	if err != nil {
		return nil, err
	}
	return s.Stat("a")
}

func TestLeftoversOfAKilledFetch(t *testing.T) {
	u := newUpstream(t)
	u.push("a", "1")
	dir := filepath.Join(t.TempDir(), "state")
	store := openStore(t, dir, git.Options{})
	m := open(t, store, git.Remote{URL: u.url()})
	fetch(t, m)
	_ = store.Close()
	base := filepath.Join(dir, m.Key())
	leftovers := []string{
		"repo.git/HEAD.lock", "repo.git/packed-refs.lock", "repo.git/config.lock", "repo.git/shallow.lock",
		"repo.git/refs/heads/main.lock", "repo.git/objects/pack/tmp_pack_x", "repo.git/objects/tmp_obj_x",
		"repo.git/gc.pid", "repo.git/packed-refs.new", "new-1/repo.git/HEAD", "new-2/old/HEAD",
	}
	for _, name := range leftovers {
		file := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("left over"), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	tip := u.push("a", "2")
	m = open(t, openStore(t, dir, git.Options{}), git.Remote{URL: u.url()})
	if result := fetch(t, m); result.Rebuilt != "" {
		t.Errorf("leftovers make a rebuild: %s", result.Rebuilt)
	}
	if got := resolve(t, m, "main").ID; got != tip {
		t.Errorf("main is at %s, want %s", got, tip)
	}
	for _, name := range leftovers {
		// Maintenance may have locks of its own for a moment.
		eventually(t, name+" is gone", func() bool {
			_, err := os.Stat(filepath.Join(base, name))
			return os.IsNotExist(err)
		})
	}
}

// TestFetchKilledAtAnyTime cuts fetches off at random moments; the next one
// that may end brings everything.
func TestFetchKilledAtAnyTime(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	u := newUpstream(t)
	u.push("a", "1")
	m := mirror(t, u)
	for i := range 20 {
		for range 5 {
			u.write("d"+strconv.Itoa(r.IntN(5))+"/f", noise(r.Int64(), 20_000))
		}
		tip := u.commit("more")
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(25))*time.Millisecond)
		_, _ = m.Fetch(ctx)
		cancel()
		if i%5 != 4 {
			continue
		}
		if result := fetch(t, m); result.Rebuilt != "" {
			t.Errorf("a killed fetch makes a rebuild: %s", result.Rebuilt)
		}
		if got := resolve(t, m, "main").ID; got != tip {
			t.Errorf("main is at %s, want %s", got, tip)
		}
		if got := len(walked(t, snapshot(t, m, "main"))); got < 2 {
			t.Errorf("the snapshot has %d files", got)
		}
	}
}

// TestTransferBreaksOff: the server goes away in the middle of a pack.
func TestTransferBreaksOff(t *testing.T) {
	u := newUpstream(t)
	u.push("a", noise(1, 1<<20))
	inner := backend(t, filepath.Dir(u.dir))
	var cut atomic.Bool
	cut.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cut.Load() && r.Method == http.MethodPost {
			w = &cutter{ResponseWriter: w, left: 200 << 10}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	m := open(t, newStore(t, git.Options{}), git.Remote{URL: server.URL + "/upstream.git"})
	_, err := m.Fetch(t.Context())
	wantError(t, err, mizzen.Unreachable, "the server does not answer as it should")
	cut.Store(false)
	fetch(t, m)
	resolve(t, m, "main")
}

// cutter ends the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

func TestReaderIsStartedAgain(t *testing.T) {
	u := newUpstream(t)
	for i := range 20 {
		u.write("f"+strconv.Itoa(i), strconv.Itoa(i))
	}
	u.commit("files")
	m := open(t, newStore(t, git.Options{CacheBytes: 1, IdleTimeout: 10 * time.Millisecond}), git.Remote{URL: u.url()})
	fetch(t, m)
	s := snapshot(t, m, "main")
	for i := range 20 {
		if data, err := s.ReadFile("f" + strconv.Itoa(i)); err != nil || string(data) != strconv.Itoa(i) {
			t.Fatalf("f%d reads %q, %v", i, data, err)
		}
		if pid := m.ReaderPID(); i%2 == 0 && pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	eventually(t, "an idle reader ends", func() bool { return m.ReaderPID() == 0 })
	if _, err := s.ReadFile("f0"); err != nil {
		t.Errorf("after it was idle: %v", err)
	}
}

func TestManyRefs(t *testing.T) {
	u := newUpstream(t)
	id := u.push("a", "1")
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "create refs/tags/v1.0.%d %s\n", i, id)
	}
	u.gitIn([]byte(b.String()), "update-ref", "--stdin")
	m := mirror(t, u)
	if got := resolve(t, m, "semver:1.0.x").ID; got != id {
		t.Errorf("resolves to %s", got)
	}
	eventually(t, "refs are packed", func() bool {
		loose, err := os.ReadDir(filepath.Join(m.Dir(), "refs", "tags"))
		return err == nil && len(loose) == 0
	})
	fetch(t, m)
	resolve(t, m, "v1.0.999")
}

// TestMalformedObjectsStayOut: what the server has is not let in, and not
// taken for damage of the mirror.
func TestMalformedObjectsStayOut(t *testing.T) {
	u := newUpstream(t)
	good := u.push("a", "1")
	m := mirror(t, u)
	blob := u.git("rev-parse", "HEAD:a")
	inner := u.gitIn([]byte("100644 blob "+blob+"\tx\n"), "mktree")
	raw, err := hex.DecodeString(inner)
	if err != nil {
		t.Fatal(err)
	}
	bad := u.gitIn(append([]byte("40000 ..\x00"), raw...), "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
	u.git("update-ref", "refs/heads/evil", u.git("commit-tree", "-m", "evil", bad))
	_, err = m.Fetch(t.Context())
	wantError(t, err, mizzen.Invalid, "the repository holds a malformed object", "git fsck")
	if got := resolve(t, m, "main").ID; got != good {
		t.Errorf("main is at %s", got)
	}
	u.git("update-ref", "-d", "refs/heads/evil")
	if result := fetch(t, m); result.Rebuilt != "" {
		t.Errorf("the mirror was made anew: %s", result.Rebuilt)
	}
}

func TestSHA256Repository(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sha256.git")
	u := &upstream{t: t, dir: filepath.Dir(dir)}
	u.git("init", "-q", "-b", "main", "--object-format=sha256", dir)
	u.dir = dir
	u.push("a", "1")
	m := open(t, newStore(t, git.Options{}), git.Remote{URL: u.url()})
	_, err := m.Fetch(t.Context())
	wantError(t, err, mizzen.Invalid, "SHA-256")
}
