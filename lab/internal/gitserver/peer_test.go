package gitserver

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is an account that is neither root's nor, as long as root runs the
// tests, ours.
const nobody = 65534

// asNobody makes a command that account's, in a directory of its own. Only root
// can; others get false.
func asNobody(t *testing.T, cmd *exec.Cmd) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("only root can be somebody else")
		return false
	}
	// The directories of go test are root's alone.
	dir, err := os.MkdirTemp("", "gitserver-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd.Dir = dir
	cmd.Env = append(append(cleanEnvironment(), environment...), "HOME="+dir, "TMPDIR="+dir, "GIT_TERMINAL_PROMPT=0")
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return true
}

// pushing clones the repository "web", commits something and pushes it.
func pushing(t *testing.T, url string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), "sh", "-euc", `
		git clone -q "$1" clone && cd clone
		git -c user.name=Eve -c user.email=eve@example.test commit -q --allow-empty -m Mine
		git push -q`, "sh", url)
}

// TestOnlyTheOwnerPushes: what is pushed to the demo is run as whoever owns the
// lab.
func TestOnlyTheOwnerPushes(t *testing.T) {
	f := newForge(t, Settings{})
	stranger := pushing(t, f.url+"/web.git")
	if !asNobody(t, stranger) {
		return
	}
	before := strings.TrimSpace(f.head(t))
	out, err := stranger.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "only its account and root may push; you are user 65534") {
		t.Errorf("a push of somebody else: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(stranger.Dir, "clone", "README.md")); err != nil {
		t.Errorf("everybody may read: %v\n%s", err, out)
	}
	// Without asking first, and by other names.
	for _, path := range []string{"git-receive-pack", "/git-receive-pack", "x/git-receive-pack"} {
		post := exec.CommandContext(t.Context(), "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", "-X", "POST",
			"-H", "Content-Type: application/x-git-receive-pack-request", "-d", "0000", f.url+"/web.git/"+path)
		asNobody(t, post)
		if out, err := post.CombinedOutput(); err != nil || string(out) != "403" {
			t.Errorf("POST %s of somebody else: %v, %s, want 403", path, err, out)
		}
	}
	if after := strings.TrimSpace(f.head(t)); after != before {
		t.Errorf("the branch has gone from %s to %s", before, after)
	}

	protected := newForge(t, Settings{User: "ada", Password: "s3cret"})
	friend := pushing(t, strings.Replace(protected.url, "//", "//ada:s3cret@", 1)+"/web.git")
	asNobody(t, friend)
	if out, err := friend.CombinedOutput(); err != nil {
		t.Errorf("a push of somebody else who knows the password: %v\n%s", err, out)
	}
}

func (f forge) head(t *testing.T) string {
	t.Helper()
	head, err := f.root.Head(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// TestOrdinaryOwner runs TestPushOfEverySize, which the tests run as whoever
// calls them, as a user who is not root.
func TestOrdinaryOwner(t *testing.T) {
	tests, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer tests.Close()
	// By its descriptor: where it is, only root may look.
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.v", "-test.run=^TestPushOfEverySize$")
	cmd.ExtraFiles = []*os.File{tests}
	if !asNobody(t, cmd) {
		return
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestPushOfEverySize") {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
}

// TestConnectionThatIsClosed is nobody's: the kernel then says that it is root's,
// and whoever closes it can wait for the answer elsewhere.
func TestConnectionThatIsClosed(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		to := listener.Addr().(*net.TCPAddr).AddrPort()
		from := connect(t, network, to)
		peer, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		address := peer.RemoteAddr().(*net.TCPAddr).AddrPort()
		if uid, err := userOf(address, to); err != nil || uid != os.Geteuid() {
			t.Errorf("a socket of %s is that of user %d, %v; want %d", network, uid, err, os.Geteuid())
		}
		if err := unix.Close(from); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(peer); err != nil { // it has arrived
			t.Fatal(err)
		}
		if uid, err := userOf(address, to); err == nil {
			t.Errorf("a socket of %s that was closed is that of user %d", network, uid)
		}
	}
}

// connect returns a socket that is connected to an address of IPv4.
func connect(t *testing.T, network string, to netip.AddrPort) int {
	t.Helper()
	family, address := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if network == "tcp6" {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, address); err != nil {
		t.Fatal(err)
	}
	return fd
}
