package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mizzen.dev/mizzen/lab/internal/state"
)

// ordinary is a user without any right, and a range of ids that it may give
// away. The system's own files stay as they are: the test has others mounted
// over them where it runs.
const (
	ordinaryUser  = "65534"
	ordinaryRange = "65534:1000000:65536\n"
)

// TestOrdinaryUser runs TestLiveCluster, which the tests run as whoever calls
// them, as a user who is not root.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("all tests run as an ordinary user already")
		return
	}
	dir, err := os.MkdirTemp("", "lab-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	// The directories of go test are root's alone.
	tests, home := filepath.Join(dir, "lab/internal/cli"), filepath.Join(dir, "home")
	for _, d := range []string{tests, home, filepath.Join(dir, "bin")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	place(t, own, filepath.Join(tests, "cli.test"))
	for _, name := range []string{"lab-cri", "kubelet", "kube-proxy", "coredns"} {
		place(t, filepath.Join(bin(t), name), filepath.Join(dir, "bin", name))
	}
	ids := filepath.Join(dir, "ids")
	if err := os.WriteFile(ids, []byte(ordinaryRange), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", `
		mount --bind "$1" /etc/subuid
		mount --bind "$1" /etc/subgid
		exec setpriv --reuid $2 --regid $2 --clear-groups ./cli.test -test.v -test.run '^TestLiveCluster$|^TestOneLife$'`,
		"sh", ids, ordinaryUser)
	cmd.Dir = tests
	cmd.Env = append(os.Environ(), "TMPDIR="+home, "HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestLiveCluster") {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}

// place makes a file available to everybody.
func place(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOtherVersion(t *testing.T) {
	l := newLab(t)
	l.must(t, "up")
	version := filepath.Join(string(l.dir), "version")
	if err := os.WriteFile(version, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := l.command(t, "up"); code != 2 || !strings.Contains(stderr, "another version") {
		t.Errorf("up beside a lab of another version: exit code %d, %q", code, stderr)
	}
	kill(t, l.status(t), "supervisor")
	eventually(t, "the end", func() bool { return l.status(t).State == state.Stopped })
	if code, _, stderr := l.command(t, "up", "--resume"); code != 2 || !strings.Contains(stderr, "lab down") {
		t.Errorf("up on clusters of another version: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := l.command(t, "up"); code != 0 || !strings.Contains(stderr, "start anew") {
		t.Errorf("up that starts anew: exit code %d, %q", code, stderr)
	}
}

func TestExposeOnlyWhatIsKnownAndLocal(t *testing.T) {
	l := newLab(t)
	for _, args := range [][]string{{"other", "127.0.0.1:1"}, {"mizzen", "192.0.2.1:80"}, {"mizzen", "localhost:80"}, {"mizzen", "127.0.0.1"}} {
		if code, _, stderr := l.command(t, append([]string{"expose"}, args...)...); code != 2 || stderr == "" {
			t.Errorf("expose %s: exit code %d, %q", fmt.Sprint(args), code, stderr)
		}
	}
	l.must(t, "expose", "mizzen", "127.0.0.1:9402")
	spec, err := l.dir.ReadSpec()
	if err != nil || spec.Exposed["mizzen"] != "127.0.0.1:9402" {
		t.Errorf("exposed: %v, %v", spec.Exposed, err)
	}
}
