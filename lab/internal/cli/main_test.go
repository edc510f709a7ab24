package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"mizzen.dev/mizzen/lab/internal/cli"
	"mizzen.dev/mizzen/lab/internal/state"
)

// beLab makes the test program behave as bin/lab, and so do its children.
const beLab = "LAB_TEST_BE_LAB"

func TestMain(m *testing.M) {
	if os.Getenv(beLab) != "" {
		os.Exit(cli.Run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// lab is a state directory and the program that works on it.
type lab struct {
	dir state.Dir
}

// newLab returns a lab that is not started, and is down when the test ends.
func newLab(t *testing.T) lab {
	t.Helper()
	l := lab{dir: state.Dir(t.TempDir())}
	t.Cleanup(func() {
		if code, _, stderr := l.command(t, "down"); code != 0 {
			t.Errorf("down: exit code %d\n%s", code, stderr)
		}
	})
	return l
}

func (l lab) start(t *testing.T, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"--dir", string(l.dir)}, args...)...)
	cmd.Env = append(os.Environ(), beLab+"=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &stdout, &stderr
}

func (l lab) command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd, out, errs := l.start(t, args...)
	_ = cmd.Wait() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// must runs a verb that has to succeed, and returns its output.
func (l lab) must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := l.command(t, args...)
	if code != 0 {
		t.Fatalf("lab %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func (l lab) status(t *testing.T) state.Status {
	t.Helper()
	_, stdout, _ := l.command(t, "status", "-o", "json")
	var s state.Status
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func client(t *testing.T, c state.Cluster) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func kill(t *testing.T, s state.Status, victims ...string) {
	t.Helper()
	for _, v := range victims {
		id := s.Supervisor
		for _, c := range s.Clusters {
			if c.Name == v {
				id = c.Process
			}
		}
		if err := id.Signal(unix.SIGKILL); err != nil {
			t.Fatalf("kill %s: %v", v, err)
		}
	}
}

// gone waits until no process of s lives.
func gone(t *testing.T, s state.Status) {
	t.Helper()
	eventually(t, "all processes to end", func() bool {
		alive := s.Supervisor.Alive()
		for _, c := range s.Clusters {
			alive = alive || c.Process.Alive()
		}
		return !alive
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// share takes a share of the lock that a lease is.
func share(t *testing.T, f *os.File) {
	t.Helper()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
}
