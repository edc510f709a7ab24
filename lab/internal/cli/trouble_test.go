package cli_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/lab/internal/state"
)

// small mounts a file system of so many MiB, for a state directory. Only root
// may; the caller has nothing to do if it returns "".
func small(t *testing.T, mib int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("an ordinary user cannot mount a small disk here")
		return ""
	}
	dir := t.TempDir()
	if err := unix.Mount("small", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves nothing free in dir, and returns what frees it.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 1<<20); len(chunk) > 0; {
		if _, err := f.Write(chunk); err != nil {
			chunk = chunk[:len(chunk)/2]
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

func TestFullDiskIsRefused(t *testing.T) {
	dir := small(t, 64)
	if dir == "" {
		return
	}
	l := lab{dir: state.Dir(dir)}
	refused(t, l, "make room", "up")
	refused(t, l, "make room", "up", "--live", "--bin", bin(t))
	if s := l.status(t); s.Supervisor.PID != 0 {
		t.Error("a supervisor runs")
	}
	defer fill(t, dir)()
	refused(t, l, "make room", "up")
	l.must(t, "down")
}

// TestDiskThatFillsUp: the lab ends or waits, and down and up work.
func TestDiskThatFillsUp(t *testing.T) {
	dir := small(t, 512)
	if dir == "" {
		return
	}
	l := lab{dir: state.Dir(dir)}
	l.must(t, "up")
	s := l.status(t)
	empty := fill(t, dir)
	kill(t, s, "cluster-1")
	eventually(t, "the lab to notice", func() bool { return l.status(t).State != state.Ready })
	if code, _, stderr := l.command(t, "up"); code != 2 || !strings.Contains(stderr, "make room") && !strings.Contains(stderr, "no space left") {
		t.Errorf("up on a full disk: exit code %d, %q", code, stderr)
	}
	l.must(t, "down")
	gone(t, s)
	empty()
	l.must(t, "up")
	l.must(t, "down")
}

// TestHopelessUpLeavesNothing: a cluster that never starts is not tried for
// ever by a supervisor that nobody asked for.
func TestHopelessUpLeavesNothing(t *testing.T) {
	l := newLab(t)
	broken := t.TempDir()
	for _, name := range []string{"lab-cri", "kubelet", "kube-proxy", "coredns"} {
		if err := os.WriteFile(filepath.Join(broken, name), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, l, "lab logs cluster-1", "up", "--live", "--bin", broken)
	if s := l.status(t); s.Supervisor.PID != 0 || s.State != state.Stopped {
		t.Errorf("the lab is %s", s.State)
	}
	if log := l.must(t, "logs"); !strings.Contains(log, "failed") {
		t.Errorf("the log does not tell of it: %q", log)
	}
}

// TestUpRefusesWhatCannotBe without starting anything.
func TestUpRefusesWhatCannotBe(t *testing.T) {
	l := newLab(t)
	table := filepath.Join(t.TempDir(), "images.yaml")
	if err := os.WriteFile(table, []byte("mine:v1: {entrypiont: [/bin/true]}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{"at least one cluster", []string{"--clusters", "0"}},
		{"no fewer than 0 nodes", []string{"--nodes", "-1"}},
		{"say --live too", []string{"--images", table}},
		{"entrypiont", []string{"--live", "--images", table}},
		{"no such file", []string{"--live", "--images", table + "x"}},
		{"such as 10.244.0.0/16", []string{"--live", "--pod-cidr", "127.0.0.0/16"}},
	} {
		refused(t, l, c.says, append([]string{"up"}, c.args...)...)
	}
	if s := l.status(t); s.Supervisor.PID != 0 || len(s.Clusters) != 0 {
		t.Errorf("the lab is %s", s.State)
	}
}

func TestLogsSayWhatIsMissing(t *testing.T) {
	l := newLab(t)
	refused(t, l, "no log of the lab", "logs")
	refused(t, l, "lab up", "logs", "default/pod")
	refused(t, l, "lab up", "logs", "cluster-1/kubelet")

	l.must(t, "up")
	run(t, l.status(t).Clusters[0], sleeper("pretends"), corev1.PodRunning)
	refused(t, l, "simulated node", "logs", "pretends")
	refused(t, l, "not found", "logs", "default/nobody")
	refused(t, l, "say NAMESPACE/POD", "logs", "nobody")
	refused(t, l, "names no pod", "logs", "default/")
	refused(t, l, "no log of cluster-1/kubelet", "logs", "cluster-1/kubelet")
	refused(t, l, "no cluster \"cluster-7\"", "logs", "--cluster", "cluster-7", "pretends")
	refused(t, l, "pods of this lab do not run", "load", "start")
	l.must(t, "stop", "cluster-1")
	refused(t, l, "lab start cluster-1", "logs", "pretends")
	l.must(t, "down")
	refused(t, l, "lab up", "logs", "pretends")
	refused(t, l, "lab up --live", "load", "stop")
	l.must(t, "logs")
}

// TestTwoLiveLabs starts two labs at the same time. The kept ports of one are
// somebody else's by now.
func TestTwoLiveLabs(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	labs := map[string]lab{"one": newLab(t), "two": newLab(t)}
	kept := taken.Addr().(*net.TCPAddr).Port
	if err := labs["two"].dir.WritePorts(state.Ports{"cluster-1/gateway": kept, "cluster-1/prometheus": kept}); err != nil {
		t.Fatal(err)
	}
	var ups []*exec.Cmd
	for _, l := range labs {
		cmd, _, _ := l.start(t, "up", "--live", "--bin", bin(t))
		ups = append(ups, cmd)
	}
	for _, cmd := range ups {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("up: %v", err)
		}
	}
	for name, l := range labs {
		c := l.status(t).Clusters[0]
		serve(t, c, name)
		answers(t, c, name)
		text := l.must(t, "status")
		for _, service := range []string{"gateway", "prometheus"} {
			if strings.HasSuffix(c.URLs[service], fmt.Sprintf(":%d", kept)) || !strings.Contains(text, c.URLs[service]) {
				t.Errorf("%s is at %s, status says\n%s", service, c.URLs[service], text)
			}
		}
	}
	labs["one"].must(t, "down")
	answers(t, labs["two"].status(t).Clusters[0], "two")
}

// serve runs a server that says its name where the relay to Prometheus leads.
func serve(t *testing.T, c state.Cluster, name string) {
	t.Helper()
	run(t, c, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "c", Image: "lab/shop:v1", Env: []corev1.EnvVar{{Name: "APP", Value: name}, {Name: "PORT", Value: "8080"}},
	}}}}, corev1.PodRunning)
	pod, err := client(t, c).CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	prometheusIs(t, c, pod.Status.PodIP, 8080)
}

// answers waits until the server says its name through the relay.
func answers(t *testing.T, c state.Cluster, name string) {
	t.Helper()
	anyone := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, name+" to answer", func() bool {
		res, err := anyone.Get(c.URLs["prometheus"])
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return err == nil && res.StatusCode == http.StatusOK && strings.Contains(string(body), name)
	})
}
