package controller

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func claim(t *testing.T, dir, cluster string) *identity {
	t.Helper()
	i, err := claimIdentity(dir, cluster)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() })
	return i
}

// A state directory makes a process the same holder as the one before it, but
// never two at a time, and for each cluster another one.
func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	first := claim(t, dir, "https://a")
	second := claim(t, dir, "https://a")
	if first.shared() || !second.shared() || first.id == second.id {
		t.Errorf("two processes at a time are %q and %q", first.id, second.id)
	}
	if other := claim(t, dir, "https://b"); other.shared() || other.id == first.id {
		t.Errorf("two clusters know the same %q", other.id)
	}
	_ = second.Close()
	_ = first.Close()
	third := claim(t, dir, "https://a")
	if third.id != first.id || third.shared() {
		t.Errorf("a process is %q after %q", third.id, first.id)
	}
	host, err := os.Hostname()
	if err != nil || !strings.HasPrefix(third.id, host+"_") {
		t.Errorf("%q does not name the host: %v", third.id, err)
	}
}

// What a file says that was not written to the end, or on another host, does
// not count.
func TestIdentityForged(t *testing.T) {
	dir := t.TempDir()
	first := claim(t, dir, "https://a")
	_ = first.Close()
	files, err := filepath.Glob(filepath.Join(dir, "leader-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, content := range []string{"", first.id, first.id[:len(first.id)-3] + "\n", "elsewhere_" + strings.Repeat("a", 26) + "\n", strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(files[0], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		fresh := claim(t, dir, "https://a")
		if fresh.id == first.id || fresh.shared() {
			t.Errorf("%.40q was believed", content)
		}
		_ = fresh.Close()
		if again := claim(t, dir, "https://a"); again.id != fresh.id {
			t.Errorf("after %.40q the name is not kept: %q, then %q", content, fresh.id, again.id)
		} else {
			_ = again.Close()
		}
	}
}
