package symlink_test

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/source/symlink"
)

// links is a file system in which everything exists, and some of it is links.
type links map[string]string

func (l links) read(name string) (string, bool, error) {
	if strings.HasPrefix(path.Base(name), "missing") {
		return "", false, fs.ErrNotExist
	}
	target, ok := l[name]
	return target, ok, nil
}

var tree = links{
	"a/file":     "../b/real",
	"a/dir":      "../b",
	"b/up":       "..",
	"a/through":  "dir/up/c/x",
	"a/back":     "dir/../d",
	"abs":        "/etc/passwd",
	"out":        "../x",
	"a/out":      "../../x",
	"a/late":     "dir/../../x",
	"loop":       "loop",
	"ping":       "pong",
	"pong":       "ping",
	"a/self":     ".",
	"a/root":     "..",
	"empty":      "",
	"nul":        "a\x00b",
	"latin":      "caf\xe9",
	"long":       strings.Repeat("x", symlink.MaxTarget+1),
	"a/dangling": "missing",
}

func TestResolve(t *testing.T) {
	cases := map[string]string{
		".":            ".",
		"plain/file":   "plain/file",
		"a/file":       "b/real",
		"a/dir/x":      "b/x",
		"a/through":    "c/x",
		"a/back":       "d",
		"a/self/self":  "a",
		"a/root/a/dir": "b",
		"a/root":       ".",
	}
	for name, want := range cases {
		got, err := symlink.Resolve(name, true, tree.read)
		if err != nil || got != want {
			t.Errorf("Resolve(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := symlink.Resolve("a/dir/up", false, tree.read); err != nil || got != "b/up" {
		t.Errorf("without following the last: %q, %v", got, err)
	}
}

func TestResolveRefuses(t *testing.T) {
	for _, name := range []string{"abs", "out", "a/out", "a/late", "loop", "ping/x", "nul", "latin", "long"} {
		got, err := symlink.Resolve(name, true, tree.read)
		if mizzen.KindOf(err) != mizzen.Refused || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%q) = %q, %v, want a refusal", name, got, err)
		}
	}
	for _, name := range []string{"empty", "a/dangling", "missing"} {
		if _, err := symlink.Resolve(name, true, tree.read); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%q): %v, want fs.ErrNotExist", name, err)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("a/b", "../c", "..")
	f.Fuzz(func(t *testing.T, name, one, two string) {
		if !fs.ValidPath(name) {
			return
		}
		read := links{"a": one, "a/b": two, "b": two, "c/d": one}.read
		if got, err := symlink.Resolve(name, true, read); err == nil && !fs.ValidPath(got) {
			t.Fatalf("Resolve(%q) = %q with a -> %q, b -> %q", name, got, one, two)
		}
	})
}
