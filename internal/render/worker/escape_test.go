package worker_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
)

func newPool(t *testing.T, config render.PoolConfig) *render.Pool {
	t.Helper()
	config.Workers = 1
	if raceEnabled {
		config.DataBytes = -1 // the race detector's own memory is beyond any bound
	}
	p, err := render.NewPool(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// try makes an attempt and returns what it said.
func try(p *render.Pool, what, arg string) (string, error) {
	r, err := p.Render(context.Background(), memtree.Tree{"a/file": "x"},
		render.Options{Path: "a", Renderer: escape, ReleaseName: what, Namespace: arg})
	if err != nil {
		return "", err
	}
	data, _ := r.Output.Objects[0].Object["data"].(map[string]any)
	said, _ := data["said"].(string)
	return said, nil
}

// goesOn fails the test unless the pool still works.
func goesOn(t *testing.T, p *render.Pool) {
	t.Helper()
	if said, err := try(p, "nothing", ""); said != "done" || err != nil {
		t.Errorf("afterwards: %q, %v", said, err)
	}
}

// TestEscapeRefused makes the attempts that a worker survives.
func TestEscapeRefused(t *testing.T) {
	leaked, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // without O_CLOEXEC: children inherit it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(leaked) })
	t.Setenv("MIZZEN_TEST_TOKEN", "secret")
	p := newPool(t, render.PoolConfig{})
	const denied = "operation not permitted"
	parent := strconv.Itoa(os.Getpid())
	cases := []struct{ what, arg, want string }{
		{"open", "/etc/passwd", denied},
		{"open", "/proc/self/environ", denied},
		{"open", "/proc/" + parent + "/environ", denied},
		{"open", "/proc/self/mem", denied},
		{"open", "/dev/null", denied},
		{"write", filepath.Join(t.TempDir(), "new"), denied},
		{"stat", "/", denied},
		{"open on all threads", "", "16"},
		{"socket unix", "", denied},
		{"socket inet", "", denied},
		{"socketpair", "", denied},
		{"start a process", "", denied},
		{"clone3", "", "function not implemented"},
		{"memfd", "", denied},
		{"dup", "", denied},
		{"ioctl", "", denied},
		{"map code", "", denied},
		{"unprotect", "", denied},
		{"kill", parent, denied},
		{"tgkill", parent, denied},
		{"raise limits", "", denied},
		{"descriptors", "", "[]"},
		{"environment", "", "[] in /, 3 arguments"},
		{"leave the repository", "", "invalid"},
		{"print", "", "done"},
		{"hold 200 MiB", "", "done"},
		{"fill stderr", "", "done"},
		{"time zone", "", "1970-01-01T01:00:00+01:00 UTC"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			said, err := try(p, c.what, c.arg)
			if err != nil || !strings.Contains(said, c.want) {
				t.Errorf("%s %s: said %q, %v; want %q", c.what, c.arg, said, err, c.want)
			}
		})
	}
	goesOn(t, p)
}

// TestEscapeFatal makes the attempts that end the worker.
func TestEscapeFatal(t *testing.T) {
	p := newPool(t, render.PoolConfig{OutputBytes: 1 << 20})
	const syscallKilled = "system call that no rendering needs"
	cases := []struct {
		what string
		kind mizzen.Kind
		want string
	}{
		{"exec", mizzen.Refused, syscallKilled},
		{"fork", mizzen.Refused, syscallKilled},
		{"ptrace", mizzen.Refused, syscallKilled},
		{"unshare", mizzen.Refused, syscallKilled},
		{"mount", mizzen.Refused, syscallKilled},
		{"io_uring", mizzen.Refused, syscallKilled},
		{"bpf", mizzen.Refused, syscallKilled},
		{"keyctl", mizzen.Refused, syscallKilled},
		{"recurse", mizzen.TooLarge, "recurses without end"},
		{"panic", mizzen.Internal, "panics: a defect"},
		{"crash", mizzen.Internal, "panic: a defect elsewhere"},
		{"exit", mizzen.Internal, "exit status 0"},
		{"fill stdout", mizzen.Refused, "bytes of output"},
		{"garbage on stdout", mizzen.Refused, "protocol violation"},
		{"large object", mizzen.TooLarge, "too large"},
		{"look up for ever", mizzen.TooLarge, "looks for more than"},
		{"ask for a path outside", mizzen.Refused, "not a path within the repository"},
	}
	for _, c := range cases {
		t.Run(c.what, func(t *testing.T) {
			said, err := try(p, c.what, "")
			if mizzen.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %q, %s: %v; want %s: %q", c.what, said, mizzen.KindOf(err), err, c.kind, c.want)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "a: ") || strings.Contains(err.Error(), "\x1b")) {
				t.Errorf("the error does not name the path, or is not printable: %q", err)
			}
		})
		goesOn(t, p)
	}
}

// TestLoop is about a template that never ends.
func TestLoop(t *testing.T) {
	p := newPool(t, render.PoolConfig{Timeout: time.Second})
	_, err := try(p, "loop", "")
	if mizzen.KindOf(err) != mizzen.Timeout || !strings.Contains(err.Error(), "a: the rendering takes longer than 1s") {
		t.Errorf("got %v", err)
	}
	goesOn(t, p)
}

// TestMemoryBomb is apart, since the race detector leaves no bound to reach.
func TestMemoryBomb(t *testing.T) {
	if raceEnabled {
		return
	}
	p := newPool(t, render.PoolConfig{})
	_, err := try(p, "fill memory", "")
	if mizzen.KindOf(err) != mizzen.TooLarge || !strings.Contains(err.Error(), "more memory than 512 MiB") {
		t.Errorf("got %v", err)
	}
	goesOn(t, p)
}

// TestProcessorTime gives a worker less than a pool ever would.
func TestProcessorTime(t *testing.T) {
	cmd := exec.Command(os.Args[0], render.WorkerCommand, `{"cpu": 1000000000, "outputBytes": 1000, "objects": 1}`)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	job := `{"options": {"path": "a", "renderer": "Escape", "releaseName": "loop", "capabilities": {}}, "timeout": 60000000000}`
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write(append([]byte{'J', 0, 0, 0, byte(len(job))}, job...)); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != render.ExitCPU {
		t.Errorf("got %v, want exit code %d", err, render.ExitCPU)
	}
}

// TestByHand is what somebody sees who starts a worker from a shell.
func TestByHand(t *testing.T) {
	out, err := exec.Command(os.Args[0], render.WorkerCommand).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not by hand") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestSandboxReport checks that the kernel agrees with what workers report.
func TestSandboxReport(t *testing.T) {
	p := newPool(t, render.PoolConfig{})
	goesOn(t, p)
	if r := p.Sandbox(); !r.Confined() {
		t.Errorf("the worker is not confined: %s", r)
	}
	before := p.Sandbox()
	if len(before.Active) < 5 {
		t.Errorf("too few layers: %s", before)
	}
	// The kernel says the same, of every thread.
	pid, err := try(p, "pid", "")
	if err != nil {
		t.Fatal(err)
	}
	threads, err := filepath.Glob("/proc/" + pid + "/task/*/status")
	if err != nil || len(threads) == 0 {
		t.Fatalf("threads of process %s: %v, %v", pid, threads, err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended
		}
		if err != nil || !strings.Contains(string(status), "\nSeccomp:\t2\n") || !strings.Contains(string(status), "\nNoNewPrivs:\t1\n") {
			t.Errorf("%s: %v\n%s", thread, err, status)
		}
	}
}

// TestEscapeAsNobody makes all attempts again without root's privileges.
func TestEscapeAsNobody(t *testing.T) {
	if os.Getuid() != 0 {
		return // the other tests have just done so
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "mizzen-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "worker.test")
	copyFile(t, os.Args[0], binary)
	scratch := filepath.Join(dir, "scratch")
	if err := errors.Join(os.Mkdir(scratch, 0o777), os.Chown(scratch, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.v", "-test.run=^(TestEscapeRefused|TestEscapeFatal|TestLoop|TestMemoryBomb|TestSandboxReport)$")
	cmd.Dir = scratch
	cmd.Env = []string{"TMPDIR=" + scratch}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if passed := strings.Count(string(out), "--- PASS"); err != nil || passed < 40 {
		t.Errorf("as nobody: %v, %d tests passed\n%s", err, passed, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := dst.Close(); err != nil {
		t.Fatal(err)
	}
}
