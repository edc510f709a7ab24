package pods

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestTwentyCyclesLeaveNothing creates and deletes pods, and looks for what is
// left of them in the lab's namespaces. It begins before the tests that are
// parallel: nobody else has pods then.
func TestTwentyCyclesLeaveNothing(t *testing.T) {
	y := newYard(t)
	node := y.node()
	cycle := func(name string) error {
		if out, err := y.try(pod(name, shared, containers(
			sh("main", "(setsid sleep 1000 &); echo x > /shared/x; echo x > /etc/x"+idle, sees), shop("shop")))); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if out, err := y.command("wait", "--for=condition=Ready", "pod/"+name, "--timeout=5m").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if out, err := y.command("delete", "pod", name, "--timeout=5m").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	// What the node makes once, for its first pod, is not a pod's.
	if err := cycle("first"); err != nil {
		t.Fatal(err)
	}
	before := node.possessions(t)
	const lanes, each = 4, 5
	var all sync.WaitGroup
	for lane := range lanes {
		all.Go(func() {
			for n := range each {
				if err := cycle(fmt.Sprintf("pod-%d-%d", lane, n)); err != nil {
					t.Errorf("pod %d of lane %d: %v", n, lane, err)
				}
			}
		})
	}
	all.Wait()
	var files, other []string
	defer func() {
		if len(other) > 0 {
			t.Logf("left behind: %q", other)
		}
	}()
	y.eventually("the end of what the kernel holds", func(context.Context) bool {
		files, other = files[:0], other[:0]
		for p := range node.possessions(t) {
			switch {
			case before[p]:
			case strings.HasPrefix(p, "file "):
				files = append(files, p)
			default:
				other = append(other, p)
			}
		}
		return len(other) == 0
	})
	// The kubelet removes logs and what it knows of a pod once a minute. Their
	// names are those of these pods: the other tests may go on.
	t.Parallel()
	for deadline := time.Now().Add(3 * time.Minute); len(files) > 0; time.Sleep(time.Second) {
		now := node.possessions(t)
		var left []string
		for _, f := range files {
			if now[f] {
				left = append(left, f)
			}
		}
		if files = left; time.Now().After(deadline) {
			t.Fatalf("left behind: %q", files)
		}
	}
}

func (y *yard) try(manifest string) (string, error) {
	cmd := y.command("apply", "--server-side", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// node is the lab's live node as the machine sees it.
type node struct {
	// first is process 1 of the node, dir the cluster's directory.
	first int
	dir   string
}

func (y *yard) node() node {
	y.Helper()
	b, err := os.ReadFile(filepath.Join(y.lab.Dir, "status.json"))
	if err != nil {
		y.Fatal(err)
	}
	var status struct {
		Clusters []struct {
			Name    string
			Process struct{ PID int }
		}
	}
	if err := json.Unmarshal(b, &status); err != nil || len(status.Clusters) == 0 || status.Clusters[0].Process.PID == 0 {
		y.Fatalf("the lab's status names no process: %v\n%s", err, b)
	}
	return node{first: status.Clusters[0].Process.PID, dir: filepath.Dir(y.lab.Kubeconfig)}
}

// possessions is everything that pods could leave behind.
func (n node) possessions(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for pid, name := range descendants(n.first) {
		proc := fmt.Sprintf("/proc/%d", pid)
		all[fmt.Sprintf("process %d %s", pid, name)] = true
		if ns, err := os.Readlink(proc + "/ns/net"); err == nil {
			all["namespace "+ns] = true
		}
		if name != "lab-cri" && name != "kubelet" {
			continue
		}
		for line := range lines(t, proc+"/mountinfo") {
			all["mount "+name+" "+strings.Fields(line)[4]] = true
		}
		for line := range lines(t, proc+"/net/dev") {
			device, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			all["interface "+device] = true
		}
		for _, dir := range []string{"/var/lib/kubelet/pods", "/var/log/pods", "/var/log/containers", "/run/lab", "/run/netns"} {
			n.walk(all, proc+"/root"+dir, false)
		}
	}
	n.walk(all, n.dir, true)
	if len(all) < 20 {
		t.Fatalf("the node has almost nothing: %v", all)
	}
	return all
}

// walk adds what is below dir, or only the directories. The data of etcd are
// its own.
func (n node) walk(all map[string]bool, dir string, onlyDirs bool) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // What is gone meanwhile is not left behind.
		}
		if d.IsDir() && d.Name() == "member" {
			return fs.SkipDir
		}
		if d.IsDir() || !onlyDirs {
			all["file "+path] = true
		}
		return nil
	})
}

func lines(t *testing.T, file string) func(func(string) bool) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Lines(string(b))
}

// descendants returns the names of the processes below one, by their ids.
func descendants(first int) map[int]string {
	parents, names := map[int]int{}, map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		open, shut := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
		var pid, parent int
		var state string
		if _, err := fmt.Sscan(string(b[:open]), &pid); err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(b[shut+1:]), &state, &parent); err != nil {
			continue
		}
		parents[pid], names[pid] = parent, string(b[open+1:shut])
	}
	below := map[int]string{}
	for pid, name := range names {
		for p := pid; p != 0; p = parents[p] {
			if p == first {
				below[pid] = name
				break
			}
		}
	}
	return below
}

// TestHundredPods has them all ready, and then none.
func TestHundredPods(t *testing.T) {
	y := newYard(t)
	y.apply(`
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 100
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec: {terminationGracePeriodSeconds: 2, ` + containers(container("main", "lab/sh:v1")) + `}
`)
	y.eventually("100 pods to be ready", func(ctx context.Context) bool {
		d, err := y.core.AppsV1().Deployments(y.ns).Get(ctx, "many", metav1.GetOptions{})
		return err == nil && d.Status.ReadyReplicas == 100
	})
	addresses := map[string]bool{}
	for _, p := range y.pods(t.Context()) {
		addresses[p.Status.PodIP] = true
	}
	if len(addresses) != 100 {
		t.Errorf("100 pods have %d addresses", len(addresses))
	}
	y.kubectl("delete", "deployment", "many")
	y.eventually("all to be gone", func(ctx context.Context) bool { return len(y.pods(ctx)) == 0 })
}

func (y *yard) pods(ctx context.Context) []corev1.Pod {
	y.Helper()
	list, err := y.core.CoreV1().Pods(y.ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		y.Fatal(err)
	}
	return list.Items
}
