package cli_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

func TestUpAndDownAreIdempotent(t *testing.T) {
	l := newLab(t)
	if code, _, _ := l.command(t, "status"); code != 1 {
		t.Errorf("status of a lab that never ran: exit code %d, want 1", code)
	}
	l.must(t, "up")
	first := l.status(t)
	l.must(t, "up")
	second := l.status(t)
	if diff := cmp.Diff(first.Clusters, second.Clusters); diff != "" || first.Supervisor != second.Supervisor {
		t.Errorf("a second up has changed the lab (-first +second):\n%s", diff)
	}
	if version, err := client(t, first.Clusters[0]).Discovery().ServerVersion(); err != nil || !strings.HasPrefix(version.GitVersion, "v") {
		t.Errorf("version of the API server: %v, %v", version, err)
	}

	l.must(t, "down")
	l.must(t, "down")
	if first.Supervisor.Alive() || first.Clusters[0].Process.Alive() {
		t.Error("processes live on after down")
	}
	if code, _, _ := l.command(t, "status"); code != 1 {
		t.Errorf("status after down: exit code %d, want 1", code)
	}
	if _, err := os.Stat(filepath.Dir(first.Clusters[0].Kubeconfig)); !os.IsNotExist(err) {
		t.Errorf("the cluster's directory after down: %v, want it gone", err)
	}
}

func TestStatusShape(t *testing.T) {
	l := newLab(t)
	l.must(t, "up")
	var top map[string]any
	if err := json.Unmarshal([]byte(l.must(t, "status", "-o", "json")), &top); err != nil {
		t.Fatal(err)
	}
	cluster := top["clusters"].([]any)[0].(map[string]any)
	for _, c := range []struct {
		what      string
		got, want []string
	}{
		{"status", keys(top), []string{"apiVersion", "clusters", "dir", "observedGeneration", "startedAt", "state", "supervisor", "urls"}},
		{"cluster", keys(cluster), []string{
			"auditLog", "failures", "kubeconfig", "log", "name", "process", "readySeconds", "restarts", "servingSeconds", "state", "urls",
		}},
		{"cluster's urls", keys(cluster["urls"].(map[string]any)), []string{"api", "git"}},
		{"process", keys(cluster["process"].(map[string]any)), []string{"boot", "pid", "start"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("fields of %s (-want +got):\n%s", c.what, diff)
		}
	}
	info, err := os.Stat(string(l.dir))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the state directory: %v, %v", info.Mode(), err)
	}
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func TestConcurrentUpsStartOneLab(t *testing.T) {
	l := newLab(t)
	var ups []*exec.Cmd
	for range 3 {
		cmd, _, _ := l.start(t, "up")
		ups = append(ups, cmd)
	}
	for _, cmd := range ups {
		if err := cmd.Wait(); err != nil {
			t.Errorf("up: %v", err)
		}
	}
	if log := l.must(t, "logs"); strings.Count(log, "msg=started") != 1 {
		t.Errorf("want one start of a cluster:\n%s", log)
	}
}

func TestKilledSupervisorLeavesNothing(t *testing.T) {
	l := newLab(t)
	l.must(t, "up")
	before := l.status(t)
	kill(t, before, "supervisor")
	gone(t, before)
	l.must(t, "up")
	after := l.status(t)
	if diff := cmp.Diff(before.Clusters[0].URLs, after.Clusters[0].URLs); diff != "" {
		t.Errorf("addresses have changed (-before +after):\n%s", diff)
	}

	kill(t, after, "cluster-1", "supervisor")
	l.must(t, "down")
	gone(t, after)
}

func TestKilledClusterComesBackAsItWas(t *testing.T) {
	l := newLab(t)
	l.must(t, "up")
	before := l.status(t)
	createNamespace(t, before.Clusters[0], "kept")
	kill(t, before, "cluster-1")
	eventually(t, "the cluster to be ready again", func() bool {
		s := l.status(t)
		return s.State == state.Ready && s.Clusters[0].Restarts == 1
	})
	if !hasNamespace(t, before.Clusters[0], "kept") {
		t.Error("the data is lost")
	}
}

func TestUpAfterKillsAtAnyMoment(t *testing.T) {
	l := newLab(t)
	for _, after := range []time.Duration{50, 150, 400, 900, 1600} {
		cmd, _, _ := l.start(t, "up")
		timer := time.NewTimer(after * time.Millisecond)
		eventually(t, "the supervisor", func() bool { return l.status(t).Supervisor.PID != 0 })
		<-timer.C
		s := l.status(t)
		kill(t, s, "supervisor")
		if err := cmd.Wait(); err == nil {
			t.Log("up was faster")
		}
		gone(t, s)
	}
	l.must(t, "up")
}

func TestKeptClusterResumes(t *testing.T) {
	l := newLab(t)
	l.must(t, "up")
	createNamespace(t, l.status(t).Clusters[0], "kept")
	l.must(t, "down", "--keep")
	l.must(t, "up", "--resume")
	c := l.status(t).Clusters[0]
	if !hasNamespace(t, c, "kept") {
		t.Error("--resume has lost the data")
	}
	l.must(t, "down", "--keep")
	l.must(t, "up")
	if hasNamespace(t, l.status(t).Clusters[0], "kept") {
		t.Error("a plain up has kept the data")
	}
}

// TestStaleDirectory starts in what a crash, a reboot and a careless editor
// may have left.
func TestStaleDirectory(t *testing.T) {
	stranger := exec.Command("sleep", "600")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stranger.Process.Kill()
		_ = stranger.Wait()
	}()
	// The ids of the former processes belong to somebody else now.
	reused, err := process.Of(stranger.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	reused.Start--

	l := newLab(t)
	old := state.Status{
		State: state.Ready, Supervisor: reused,
		Clusters: []state.Cluster{{Name: "cluster-1", State: state.Ready, Process: reused}},
	}
	if err := l.dir.WriteStatus(old); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"spec.json": `{"clusters": 7, "generation"`, "ports.json": "\x00", "lab.log": "old",
		"clusters/cluster-1/etcd/member/wal/0.wal": "torn", "clusters/cluster-1/kubeconfig": "{",
		"clusters/cluster-1/etcd:0": "no socket", "leases.lock": "", "supervisor.lock": "",
	} {
		path := filepath.Join(string(l.dir), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.must(t, "up")
	l.must(t, "down")
	reused.Start++
	if !reused.Alive() {
		t.Error("the lab has killed a process that is not its own")
	}
}

func TestPortInUse(t *testing.T) {
	l := newLab(t)
	taken := map[string]net.Listener{}
	kept := state.Ports{}
	for _, name := range []string{"git", "cluster-1"} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		taken[name] = listener
		kept[name] = listener.Addr().(*net.TCPAddr).Port
	}
	if err := l.dir.WritePorts(kept); err != nil {
		t.Fatal(err)
	}
	l.must(t, "up")
	s := l.status(t)
	for name, url := range map[string]string{"git": s.URLs["git"], "cluster-1": s.Clusters[0].URLs["api"]} {
		if strings.HasSuffix(url, fmt.Sprintf(":%d", kept[name])) {
			t.Errorf("%s is at %s, which is somebody else's", name, url)
		}
	}
}

func TestTwoLabsSideBySide(t *testing.T) {
	a, b := newLab(t), newLab(t)
	a.must(t, "up")
	b.must(t, "up")
	createNamespace(t, a.status(t).Clusters[0], "only-in-a")
	if hasNamespace(t, b.status(t).Clusters[0], "only-in-a") {
		t.Error("two labs share a cluster")
	}
	a.must(t, "down")
	if s := b.status(t); s.State != state.Ready || !hasNamespace(t, s.Clusters[0], "default") {
		t.Errorf("the second lab is %s when the first is down", s.State)
	}
}

func TestOutage(t *testing.T) {
	l := newLab(t)
	l.must(t, "up", "--clusters", "2")
	clusters := l.status(t).Clusters
	createNamespace(t, clusters[1], "kept")
	l.must(t, "stop", "cluster-2")
	l.must(t, "stop", "cluster-2")
	_, err := client(t, clusters[1]).CoreV1().Namespaces().Get(t.Context(), "kept", metav1.GetOptions{})
	if !utilnet.IsConnectionRefused(err) {
		t.Errorf("during an outage: %v, want connection refused", err)
	}
	if s := l.status(t); s.Clusters[1].State != state.Stopped || s.State != state.Ready {
		t.Errorf("lab %s, cluster-2 %s; want ready and stopped", s.State, s.Clusters[1].State)
	}
	l.must(t, "start", "cluster-2")
	if !hasNamespace(t, clusters[1], "kept") {
		t.Error("the outage has cost data")
	}
	if code, _, stderr := l.command(t, "stop", "cluster-3"); code != 2 || !strings.Contains(stderr, "lab status") {
		t.Errorf("stop of a cluster that does not exist: exit code %d, %q", code, stderr)
	}
}

func TestIdleLabEnds(t *testing.T) {
	l := newLab(t)
	lease, err := os.Create(l.dir.Leases())
	if err != nil {
		t.Fatal(err)
	}
	share(t, lease)
	l.must(t, "up", "--idle", "1s")
	l.must(t, "run", "sleeper", "sleep", "600")
	sleeper := l.program(t).Process
	s := l.status(t)
	// Longer than the limit: the lease keeps it.
	hasNamespace(t, s.Clusters[0], "default")
	<-time.After(2 * time.Second)
	if !s.Supervisor.Alive() {
		t.Fatal("the lab ended although somebody holds a lease")
	}
	if err := lease.Close(); err != nil {
		t.Fatal(err)
	}
	gone(t, s)
	if sleeper.Alive() {
		t.Error("a program outlives the lab that it was started beside")
	}
}

func createNamespace(t *testing.T, c state.Cluster, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client(t, c).CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func hasNamespace(t *testing.T, c state.Cluster, name string) bool {
	t.Helper()
	_, err := client(t, c).CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}
