package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/trace"
	"mizzen.dev/mizzen/internal/traffic/worker"
)

// planDemo plans a changed weight in a clone of the demo repository, by a new
// process each time, and without a cluster.
func planDemo(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of no further use
	if out, err := exec.CommandContext(ctx, "bin/lab", "demo", "--write", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("bin/lab demo: %w: %s", err, out)
	}
	if err := commit(ctx, dir); err != nil {
		return err
	}
	if err := edit(filepath.Join(dir, "mesh/reviews.yaml"), "weight: 90", "weight: 80", "weight: 10", "weight: 20"); err != nil {
		return err
	}
	return b.plan(ctx, dir, "plan-demo", "`mizzen plan --base` of one weight in the demo repository", "<= 1.5 s", "")
}

// planCity plans a changed weight in a repository of 1,000 services, each with
// an Application, a VirtualService and a DestinationRule.
func planCity(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of no further use
	services := b.n(1000)
	for i := range services {
		if err := writeService(dir, i); err != nil {
			return err
		}
	}
	if err := commit(ctx, dir); err != nil {
		return err
	}
	if err := edit(filepath.Join(dir, "svc-0/service.yaml"), "weight: 90", "weight: 80", "weight: 10", "weight: 20"); err != nil {
		return err
	}
	what := fmt.Sprintf("`mizzen plan --base` of one weight among %d services", services)
	return b.plan(ctx, dir, "plan-city", what, "<= 4 s", "<= 600 MB")
}

// plan runs mizzen plan in a clone, and notes how long it takes and how much
// memory its processes have at most.
func (b *bench) plan(ctx context.Context, dir, name, what, wanted, wantedMemory string) error {
	mizzen, err := filepath.Abs("bin/mizzen")
	if err != nil {
		return err
	}
	var seconds, mib []float64
	for range b.runs {
		cmd := exec.CommandContext(ctx, mizzen, "plan", "--base", "HEAD", "--fail-on", "none")
		cmd.Dir = dir
		var out strings.Builder
		cmd.Stdout = &out
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			return err
		}
		peak := make(chan int64)
		ended := make(chan struct{})
		go func() { peak <- watchMemory(cmd.Process.Pid, ended) }()
		err := cmd.Wait()
		took := time.Since(begin)
		close(ended)
		most := <-peak
		if err != nil {
			return fmt.Errorf("mizzen plan: %w: %s", err, out.String())
		}
		if !strings.Contains(out.String(), "MT1002") {
			return fmt.Errorf("mizzen plan does not tell the weight: %s", out.String())
		}
		seconds, mib = append(seconds, took.Seconds()), append(mib, float64(most)/(1<<20))
	}
	b.results.keep(name+"/seconds", seconds...)
	b.results.keep(name+"/peak-mib", mib...)
	b.results.add(what+", a new process, seconds", spread(seconds, "%.2f"), wanted, b.times())
	b.results.add(what+", peak resident memory of all its processes, MiB", spread(mib, "%.0f"), wantedMemory, b.times())
	return nil
}

// watchMemory returns the most resident memory that a process and those below
// it have at a time. What they share counts for each.
func watchMemory(pid int, ended <-chan struct{}) (most int64) {
	for {
		_, rss := usageOf(pid)
		most = max(most, rss)
		select {
		case <-ended:
			return most
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// traceWarm asks one warm worker for many requests.
func traceWarm(ctx context.Context, b *bench) error {
	dir, err := os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of no further use
	services := b.n(1000)
	for i := range services {
		if err := writeService(dir, i); err != nil {
			return err
		}
	}
	objects, err := readObjects(dir)
	if err != nil {
		return err
	}
	client := &worker.Client{Executable: "bin/mizzen"}
	defer client.Close()
	mesh, err := client.Mesh(objects, "")
	if err != nil {
		return err
	}
	question := trace.Question{From: "team-0/svc-1", Method: "GET", URL: "http://svc-0.team-0/"}
	if _, err := mesh.Trace(ctx, question); err != nil {
		return err
	}
	var ms []float64
	for range 50 {
		begin := time.Now()
		if _, err := mesh.Trace(ctx, question); err != nil {
			return err
		}
		ms = append(ms, float64(time.Since(begin).Microseconds())/1000)
	}
	b.results.keep("trace/ms", ms...)
	b.results.add(fmt.Sprintf("trace of a request among %d services, a warm worker, ms", services), spread(ms, "%.1f"), "<= 50", fmt.Sprintf("%d", len(ms)))
	return nil
}

// commit makes a directory a clone with one commit.
func commit(ctx context.Context, dir string) error {
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "All"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return nil
}

// edit replaces strings in a file, each of which must be there.
func edit(file string, oldnew ...string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(string(content), oldnew[i]) {
			return fmt.Errorf("%s: no %q", file, oldnew[i])
		}
	}
	return os.WriteFile(file, []byte(strings.NewReplacer(oldnew...).Replace(string(content))), 0o644)
}

// serviceYAML is a service of ours. NUMBER is its number, TEAM that of its team,
// and NEXT that of another service of the team.
const serviceYAML = `apiVersion: v1
kind: Service
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec: {selector: {app: svc-NUMBER}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec:
  selector: {matchLabels: {app: svc-NUMBER}}
  template:
    metadata: {labels: {app: svc-NUMBER, version: v1}}
    spec: {containers: [{name: app, image: app:1}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec: {host: svc-NUMBER, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec:
  hosts: [svc-NUMBER]
  http:
  - route:
    - destination: {host: svc-NUMBER, subset: v1}
      weight: 90
    - destination: {host: svc-NEXT}
      weight: 10
`

const applicationYAML = `apiVersion: mizzen.dev/v1alpha1
kind: Application
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec:
  source: {repository: city, path: svc-NUMBER}
`

// neighbour is the next service of the same team.
func neighbour(service int) int { return service/10*10 + (service+1)%10 }

// teamOf puts ten services into a namespace.
func teamOf(service int) int { return service / 10 }

func writeService(dir string, i int) error {
	number, team, next := strconv.Itoa(i), strconv.Itoa(teamOf(i)), strconv.Itoa(neighbour(i))
	fill := strings.NewReplacer("NUMBER", number, "TEAM", team, "NEXT", next)
	for name, form := range map[string]string{
		fmt.Sprintf("svc-%d/service.yaml", i): serviceYAML, fmt.Sprintf("apps/svc-%d.yaml", i): applicationYAML,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(fill.Replace(form)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readObjects reads all services of a directory.
func readObjects(dir string) (objects []mizzen.Object, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "svc-*", "service.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, document := range strings.Split(string(content), "---\n") {
			var o map[string]any
			if err := yaml.Unmarshal([]byte(document), &o); err != nil {
				return nil, err
			}
			objects = append(objects, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: o}})
		}
	}
	return objects, nil
}
