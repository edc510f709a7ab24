package git_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/git"
)

// noise returns n bytes that do not compress.
func noise(seed int64, n int) string {
	r := rand.New(rand.NewPCG(uint64(seed), 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func TestSnapshotIsAFileSystem(t *testing.T) {
	u := newUpstream(t)
	u.write("README.md", "hello\n")
	u.write("empty", "")
	u.write("apps/web/deployment.yaml", "kind: Deployment\n")
	u.write("apps/web/base/service.yaml", "kind: Service\n")
	// Git orders these differently from fs.ReadDir.
	u.write("apps/a/b", "1")
	u.write("apps/a.b", "2")
	u.write("apps/a-b", "3")
	u.link("apps/latest", "web")
	u.link("apps/readme", "../README.md")
	u.commit("files")
	s := snapshot(t, mirror(t, u), "main")
	err := fstest.TestFS(s, "README.md", "empty", "apps/web/deployment.yaml", "apps/web/base/service.yaml", "apps/a/b", "apps/a.b")
	if err != nil {
		t.Error(err)
	}
	if s.Commit().Subject != "files" {
		t.Errorf("the snapshot's commit is %+v", s.Commit())
	}
	if got, err := s.ReadLink("apps/readme"); err != nil || got != "../README.md" {
		t.Errorf("ReadLink: %q, %v", got, err)
	}
	data, err := s.ReadFile("apps/latest/deployment.yaml")
	if err != nil || string(data) != "kind: Deployment\n" {
		t.Errorf("through a link: %q, %v", data, err)
	}
	data[0] = 'X'
	if again, _ := s.ReadFile("apps/latest/deployment.yaml"); string(again) != "kind: Deployment\n" {
		t.Error("the caller's change of the bytes shows in the next read")
	}
	for _, name := range []string{"missing", "README.md/x", "apps/missing/x", "apps/web/deployment.yaml/.."} {
		if _, err := s.Open(name); err == nil {
			t.Errorf("Open(%q) succeeds", name)
		}
	}
	if _, err := s.ReadFile("missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// tarball returns the files and links that `git archive` makes of a commit.
func tarball(t *testing.T, u *upstream, id string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for r := tar.NewReader(strings.NewReader(u.archive(id))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			all[h.Name] = "file " + string(data)
		case tar.TypeSymlink:
			all[h.Name] = "link " + h.Linkname
		}
	}
}

func (u *upstream) archive(id string) string {
	u.t.Helper()
	// git() trims spaces, which tar readers do not miss.
	return u.git("archive", "--format=tar", id)
}

// walked returns the same of a snapshot.
func walked(t *testing.T, s *git.Snapshot) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(s, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case d.Type() == fs.ModeSymlink:
			target, err := s.ReadLink(name)
			all[name] = "link " + target
			return err
		}
		data, err := s.ReadFile(name)
		all[name] = "file " + string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSnapshotEqualsArchive(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	u := newUpstream(t)
	names := []string{"a", "b", "a.b", "a-b", "ü", "with space", "z"}
	var ids []string
	for range 25 {
		for range 4 {
			name := names[r.IntN(len(names))]
			for range r.IntN(3) {
				name = path.Join("d"+names[r.IntN(len(names))], name)
			}
			u.remove(name)
			switch r.IntN(6) {
			case 0:
			case 1:
				u.link(name, names[r.IntN(len(names))])
			default:
				u.write(name, noise(r.Int64(), r.IntN(3000)))
			}
		}
		ids = append(ids, u.commit("random"))
	}
	m := mirror(t, u)
	for _, id := range ids {
		s, err := m.Snapshot(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tarball(t, u, id), walked(t, s)); diff != "" {
			t.Fatalf("commit %s: %s", id, diff)
		}
	}
}

func TestSymlinksStayInside(t *testing.T) {
	u := newUpstream(t)
	u.write("shared/values.yaml", "shared")
	u.link("apps/web/values.yaml", "../../shared/values.yaml")
	u.link("apps/web/shared", "../../shared")
	u.link("etc", "/etc/passwd")
	u.link("up", "../secret")
	u.link("apps/up", "../../secret")
	u.link("loop", "loop")
	u.link("apps/web/hop", "shared/../../up")
	u.link("dangling", "nowhere")
	u.commit("links")
	s := snapshot(t, mirror(t, u), "main")
	for _, name := range []string{"apps/web/values.yaml", "apps/web/shared/values.yaml"} {
		if data, err := s.ReadFile(name); err != nil || string(data) != "shared" {
			t.Errorf("ReadFile(%q) = %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"etc", "up", "apps/up", "apps/web/hop", "loop", "etc/x"} {
		_, err := s.ReadFile(name)
		wantError(t, err, mizzen.Refused)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile(%q): %v is not fs.ErrNotExist", name, err)
		}
		if _, err := s.Lstat(path.Dir(name)); name != "etc/x" && err != nil {
			t.Errorf("Lstat(%q): %v", name, err)
		}
	}
	_, err := s.Stat("up")
	wantError(t, err, mizzen.Refused, `the symbolic link points to "../secret", which is out of the repository`)
	if _, err := s.Open("dangling"); !errors.Is(err, fs.ErrNotExist) || mizzen.KindOf(err) == mizzen.Refused {
		t.Errorf("a dangling link: %v", err)
	}
}

// ids returns the IDs of names at the tip of main.
func ids(t *testing.T, m *git.Mirror, names ...string) []string {
	t.Helper()
	fetch(t, m)
	s := snapshot(t, m, "main")
	var all []string
	for _, name := range names {
		id, err := s.ID(name)
		if err != nil {
			t.Fatalf("ID(%q): %v", name, err)
		}
		all = append(all, id)
	}
	return all
}

func TestIDChangesWithContentOnly(t *testing.T) {
	u := newUpstream(t)
	u.write("apps/web/deployment.yaml", "1")
	u.write("apps/db/deployment.yaml", "1")
	u.write("shared/deep/values.yaml", "1")
	u.link("apps/linked/base", "../../shared")
	u.link("apps/dangling/values.yaml", "../../later")
	u.link("apps/indirect/one", "../linked")
	u.link("apps/circle/self", "../circle")
	u.commit("first")
	m := mirror(t, u)
	names := []string{"apps/web", "apps/db", "apps/linked", "apps/dangling", "apps/indirect", "apps/circle", "apps/linked/base/deep", "."}
	changed := func(before, after []string) (all []string) {
		for i := range names {
			if before[i] != after[i] {
				all = append(all, names[i])
			}
		}
		return all
	}
	one := ids(t, m, names...)
	if one[0] != u.git("rev-parse", "HEAD:apps/web") || one[0] != one[1] {
		t.Errorf("the ID of a directory is not Git's: %v", one)
	}
	u.push("apps/web/deployment.yaml", "2")
	two := ids(t, m, names...)
	if diff := cmp.Diff([]string{"apps/web", "."}, changed(one, two)); diff != "" {
		t.Error(diff)
	}
	// What a link leads to counts as if it were there.
	u.push("shared/deep/values.yaml", "2")
	three := ids(t, m, names...)
	if diff := cmp.Diff([]string{"apps/linked", "apps/indirect", "apps/linked/base/deep", "."}, changed(two, three)); diff != "" {
		t.Error(diff)
	}
	u.push("later", "now it is there")
	four := ids(t, m, names...)
	if diff := cmp.Diff([]string{"apps/dangling", "."}, changed(three, four)); diff != "" {
		t.Error(diff)
	}
	s := snapshot(t, m, "main")
	if _, err := s.ID("apps/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ID of what does not exist: %v", err)
	}
	file, err := s.ID("apps/web/deployment.yaml")
	if err != nil || file != u.git("rev-parse", "HEAD:apps/web/deployment.yaml") {
		t.Errorf("the ID of a file is not Git's: %s, %v", file, err)
	}
}

func TestProblems(t *testing.T) {
	u := newUpstream(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 12345\n"
	u.write("apps/web/model.yaml", pointer)
	u.write("apps/web/fine.yaml", "kind: Service\n")
	u.write("apps/db/fine.yaml", "kind: Service\n")
	u.commit("files")
	u.git("update-index", "--add", "--cacheinfo", "160000,"+u.git("rev-parse", "HEAD")+",apps/web/vendor")
	blob := u.git("rev-parse", "HEAD:apps/db/fine.yaml")
	u.gitIn([]byte("100644 "+blob+"\tapps/web/caf\xe9.yaml\n"), "update-index", "--add", "--index-info")
	u.git("commit", "-q", "-m", "a submodule and a name")
	s := snapshot(t, mirror(t, u), "main")
	found, err := s.Problems(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, string(f.Code)+" "+f.Origin.File+": "+f.Message)
	}
	want := []string{
		string(mizzen.CodeFileName) + " apps/web/caf\uFFFD.yaml: the file's name is not UTF-8, so it cannot be read",
		string(mizzen.CodeLFSPointer) + " apps/web/model.yaml: apps/web/model.yaml is a Git LFS pointer and not the file itself",
		string(mizzen.CodeSubmodule) + " apps/web/vendor: apps/web/vendor is a submodule, and submodules are not fetched: it is empty",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if found, err := s.Problems(t.Context(), "apps/db"); err != nil || len(found) != 0 {
			t.Errorf("problems of a clean directory: %v, %v", found, err)
		}
	}
	if entries, err := s.ReadDir("apps/web/vendor"); err != nil || len(entries) != 0 {
		t.Errorf("a submodule lists %v, %v", entries, err)
	}
	if _, err := s.ReadFile("apps/web/vendor/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in a submodule: %v", err)
	}
	entries, err := s.ReadDir("apps/web")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.ReadFile(path.Join("apps/web", entries[0].Name()))
	wantError(t, err, mizzen.Invalid, `"apps/web/caf\xe9.yaml"`, "not UTF-8", "rename the file")
}

// TestProblemsAreBounded: a few objects stand for any number of entries.
func TestProblemsAreBounded(t *testing.T) {
	u := newUpstream(t)
	u.write("a.yaml", "kind: Service\n")
	u.commit("a file")
	commit := u.git("rev-parse", "HEAD")
	var leaf strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&leaf, "160000 commit %s\ts%04d\n", commit, i)
	}
	tree := strings.TrimSpace(u.gitIn([]byte(leaf.String()), "mktree", "--missing"))
	for range 30 {
		tree = strings.TrimSpace(u.gitIn(fmt.Appendf(nil, "040000 tree %s\ta\n040000 tree %s\tb\n", tree, tree), "mktree", "--missing"))
	}
	u.git("update-ref", "refs/heads/main", u.git("commit-tree", "-p", "HEAD", "-m", "many submodules", tree))
	s := snapshot(t, mirror(t, u), "main")
	for _, name := range []string{".", "a", "a/b/a", "."} {
		found, err := s.Problems(t.Context(), name)
		if err != nil || len(found) != 1000 {
			t.Errorf("%s: %d problems, %v", name, len(found), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Problems(ctx, "."); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that nobody waits for: %v", err)
	}
}

func TestProblemsOfASubmodule(t *testing.T) {
	u := newUpstream(t)
	u.write("a.yaml", "kind: Service\n")
	u.commit("a file")
	u.git("update-index", "--add", "--cacheinfo", "160000,"+u.git("rev-parse", "HEAD")+",vendor/lib")
	u.git("commit", "-q", "-m", "a submodule")
	s := snapshot(t, mirror(t, u), "main")
	for _, name := range []string{"vendor/lib", "vendor/lib/base/a.yaml"} {
		found, err := s.Problems(t.Context(), name)
		if err != nil || len(found) != 1 || found[0].Code != mizzen.CodeSubmodule || found[0].Origin.File != "vendor/lib" {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	if _, err := s.Problems(t.Context(), "vendor/other/a.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that does not exist: %v", err)
	}
}

func TestBigFileIsNotRead(t *testing.T) {
	u := newUpstream(t)
	u.write("big.yaml", strings.Repeat("a: b\n", 300_000))
	u.write("just.yaml", strings.Repeat("x", 1<<20))
	u.commit("big")
	m := open(t, newStore(t, git.Options{MaxFileBytes: 1 << 20}), git.Remote{URL: u.url()})
	fetch(t, m)
	s := snapshot(t, m, "main")
	_, err := s.ReadFile("big.yaml")
	wantError(t, err, mizzen.TooLarge, "big.yaml", "1500000 bytes", "at most 1048576", "split the file")
	f, err := s.Open("big.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(f)
	wantError(t, err, mizzen.TooLarge)
	if info, err := s.Stat("big.yaml"); err != nil || info.Size() != 1_500_000 {
		t.Errorf("Stat of a big file: %v, %v", info, err)
	}
	if data, err := s.ReadFile("just.yaml"); err != nil || !bytes.Equal(data, bytes.Repeat([]byte("x"), 1<<20)) {
		t.Errorf("a file of exactly the limit: %d bytes, %v", len(data), err)
	}
}
