// Package labtest gives a Go test a real Kubernetes. It executes bin/lab,
// which it builds when needed, and nothing else: Kubernetes' modules stay in
// lab/. All packages of a test run share one lab; each test has namespaces of
// its own. The shared lab ends by itself when no test process has used it for
// a while, so that a killed test leaves nothing for ever.
//
//	l := labtest.Start(t, labtest.ControlPlane)
//	client := kubernetes.NewForConfigOrDie(l.Config)
package labtest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Part is something that a test needs of a lab. Parts are combined with |.
type Part uint

// The parts of a lab.
const (
	// ControlPlane is one cluster: API server, controllers, scheduler, and
	// nodes whose pods become Ready without running.
	ControlPlane Part = 1 << iota
	// Git is the Git server.
	Git
	// SecondCluster is a further cluster, see Lab.Second. With Live or Mesh its
	// pods run too; what Mesh adds is in the first cluster alone.
	SecondCluster
	// Live is a node whose pods run, beside those whose pods do not.
	Live
	// Mesh is a Live cluster with Istio and the demo shop, synced from the Git
	// repository "demo" by Mizzen, as `make up` starts it.
	Mesh
	// Joined is a SecondCluster whose pods and those of the first reach each
	// other. Both are Live.
	Joined
)

// live reports whether pods must run.
func (p Part) live() bool { return p&(Live|Mesh|Joined) != 0 }

func (p Part) clusters() int {
	if p&(SecondCluster|Joined) != 0 {
		return 2
	}
	return 1
}

// idleSeconds is how long the shared lab stays when no test uses it.
const idleSeconds = 30

// Lab is a running lab as one test sees it.
type Lab struct {
	// Cluster is the first cluster.
	Cluster
	// Dir is the lab's state directory, for `bin/lab --dir`.
	Dir string
	// GitURL is the root of the Git server's repositories, without a slash
	// at its end.
	GitURL string

	tools    tools
	clusters []clusterStatus
}

// Start returns the lab that all tests of the run share, with a fresh
// namespace for this test in the first cluster. It fails the test if there is
// no lab to be had.
func Start(t testing.TB, parts Part) *Lab {
	t.Helper()
	tools, err := prepare(parts)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(tools.root, ".cache", "labtest", tools.version+parts.sort())
	if err := lease(dir); err != nil {
		t.Fatal(err)
	}
	return open(t, tools, dir, parts, idleSeconds)
}

// sort tells labs apart that cannot be shared: who needs an API server only
// does not wait for a mesh, and clusters are joined when they start.
func (p Part) sort() string {
	sort := ""
	switch {
	case p&Mesh != 0:
		sort = "-mesh"
	case p.live():
		sort = "-live"
	}
	if p&Joined != 0 {
		sort += "-joined"
	}
	return sort
}

// Private returns a lab of this test alone, for tests that stop clusters or
// count what everybody does. Its clusters start empty, and it ends with the
// test.
func Private(t testing.TB, parts Part) *Lab {
	t.Helper()
	tools, err := prepare(parts)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := lease(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := tools.lab(dir, "down", "--purge").CombinedOutput(); err != nil {
			t.Errorf("lab down: %v\n%s", err, out)
		}
	})
	return open(t, tools, dir, parts, 5)
}

// open makes sure that the lab in dir runs and has parts.
func open(t testing.TB, tools tools, dir string, parts Part, idle int) *Lab {
	t.Helper()
	if out, err := exclusively(dir, tools.up(dir, parts, idle)); err != nil {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	l := &Lab{Dir: dir, tools: tools}
	status := l.status(t)
	l.clusters, l.GitURL = status.Clusters, status.URLs["git"]
	l.Cluster = *l.cluster(t, 0)
	return l
}

// Second returns the second cluster, with a fresh namespace for this test. The
// lab must have been started with SecondCluster. Its kubeconfig is complete in
// itself: it may be put into a Secret of the first cluster.
func (l *Lab) Second(t testing.TB) *Cluster {
	t.Helper()
	return l.cluster(t, 1)
}

// Addresses returns the URLs of the first cluster as `lab status` says them now:
// "tracing" is there while traces are kept.
func (l *Lab) Addresses(t testing.TB) map[string]string {
	t.Helper()
	return l.status(t).Clusters[0].URLs
}

// Stop plays an outage of a cluster: connections are refused until Resume. Only
// a Private lab may be stopped.
func (l *Lab) Stop(t testing.TB, c *Cluster) {
	t.Helper()
	l.run(t, "stop", c.Name)
}

// Resume ends an outage: the cluster has its old port and data.
func (l *Lab) Resume(t testing.TB, c *Cluster) {
	t.Helper()
	l.run(t, "start", c.Name)
}

// run executes a verb of bin/lab.
func (l *Lab) run(t testing.TB, args ...string) {
	t.Helper()
	if out, err := l.tools.lab(l.Dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("lab %v: %v\n%s", args, err, out)
	}
}

type labStatus struct {
	Clusters []clusterStatus   `json:"clusters"`
	URLs     map[string]string `json:"urls"`
}

type clusterStatus struct {
	Name       string            `json:"name"`
	Kubeconfig string            `json:"kubeconfig"`
	AuditLog   string            `json:"auditLog"`
	URLs       map[string]string `json:"urls"`
}

func (l *Lab) status(t testing.TB) labStatus {
	t.Helper()
	out, err := l.tools.lab(l.Dir, "status", "-o", "json").Output()
	if err != nil {
		t.Fatalf("lab status: %v\n%s", err, out)
	}
	var s labStatus
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("lab status: %v", err)
	}
	return s
}

// leases are the files whose locks keep labs alive as long as this process.
var leases sync.Map

// lease takes a share of the lock that keeps the lab in dir alive, for as long
// as the process lives. The kernel gives it back, whatever happens to us.
func lease(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("directory of the lab: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "leases.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lease of the lab: %w", err)
	}
	if _, held := leases.LoadOrStore(dir, f); held {
		return f.Close()
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		return fmt.Errorf("lease of the lab: %w", err)
	}
	return nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// up is the command that starts a lab in dir that has parts: `lab up`, or for a
// mesh what `make up` does.
func (t tools) up(dir string, parts Part, idle int) *exec.Cmd {
	clusters, limit := strconv.Itoa(parts.clusters()), strconv.Itoa(idle)+"s"
	if parts&Mesh != 0 {
		cmd := exec.Command(filepath.Join(t.root, "hack", "up.sh"))
		cmd.Env = append(os.Environ(), "MIZZEN_LAB="+dir, "LAB=live", "CLUSTERS="+clusters, "JOINED=", "IDLE="+limit)
		if parts&Joined != 0 {
			cmd.Env = append(cmd.Env, "JOINED=1")
		}
		return cmd
	}
	args := []string{"up", "--clusters", clusters, "--idle", limit}
	if parts.live() {
		args = append(args, "--live")
	}
	if parts&Joined != 0 {
		args = append(args, "--joined")
	}
	return t.lab(dir, args...)
}

// exclusively runs a command that starts the lab in dir, one process at a time.
func exclusively(dir string, cmd *exec.Cmd) ([]byte, error) {
	lock, err := os.Create(filepath.Join(dir, "start.lock"))
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := flock(lock, unix.LOCK_EX); err != nil {
		return nil, err
	}
	return cmd.CombinedOutput()
}

// lab is a command of bin/lab on the lab in dir.
func (t tools) lab(dir string, args ...string) *exec.Cmd {
	return exec.Command(t.binary("lab"), append(args, "--dir", dir)...)
}
