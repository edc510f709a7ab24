package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing/fstest"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
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
	return b.plan(ctx, dir, planFigures{
		name: "plan-demo", what: "`mizzen plan --base` of one weight in the demo repository", tells: "MT1002", wanted: "<= 1.5 s",
	})
}

// planCity plans a changed weight in a repository of 1,000 services, each with
// an Application, a VirtualService and a DestinationRule.
func planCity(ctx context.Context, b *bench) error {
	services := b.n(1000)
	dir, remove, err := newCity(services)
	if err != nil {
		return err
	}
	defer remove()
	if err := commit(ctx, dir); err != nil {
		return err
	}
	if err := edit(filepath.Join(dir, "svc-0/service.yaml"), "weight: 90", "weight: 80", "weight: 10", "weight: 20"); err != nil {
		return err
	}
	return b.plan(ctx, dir, planFigures{
		name: "plan-city", what: fmt.Sprintf("`mizzen plan --base` of one weight among %d services", services), tells: "MT1002",
		wanted: "<= 4 s", wantedMemory: "<= 600 MB",
	})
}

// newCity writes a city into a directory of its own, which remove takes away.
func newCity(services int) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) } // of no further use
	if err := writeCity(dir, services); err != nil {
		remove()
		return "", nil, err
	}
	return dir, remove, nil
}

// planSettings plans a changed setting of the mesh in such a repository, which
// concerns every proxy.
func planSettings(ctx context.Context, b *bench) error {
	services := b.n(1000)
	dir, remove, err := newCity(services)
	if err != nil {
		return err
	}
	defer remove()
	settings := filepath.Join(dir, "mesh/settings.yaml")
	err = errors.Join(
		os.Mkdir(filepath.Dir(settings), 0o755), os.WriteFile(settings, []byte(settingsYAML), 0o644),
		os.WriteFile(filepath.Join(dir, "apps/mesh.yaml"), []byte(settingsApplicationYAML), 0o644),
	)
	if err != nil {
		return err
	}
	if err := commit(ctx, dir); err != nil {
		return err
	}
	if err := edit(settings, "accessLogFile: ''", "accessLogFile: /dev/stdout"); err != nil {
		return err
	}
	return b.plan(ctx, dir, planFigures{
		name: "plan-settings", what: fmt.Sprintf("`mizzen plan --base` of access logs for a mesh of %d services", services), tells: string(mizzen.EffectAccessLog),
	})
}

// settingsYAML are the settings of a mesh, and settingsApplicationYAML what
// deploys them.
const (
	settingsYAML = `apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: ''
`
	settingsApplicationYAML = `apiVersion: mizzen.dev/v1alpha1
kind: Application
metadata: {name: mesh, namespace: istio-system}
spec:
  source: {repository: city, path: mesh}
`
)

// planFigures say what a plan is measured as.
type planFigures struct {
	name, what string
	// tells is what must stand in the plan.
	tells                string
	wanted, wantedMemory string
}

// plan runs mizzen plan in a clone, and notes how long it takes, by the clock
// and of processors, and how much memory its processes have at most.
func (b *bench) plan(ctx context.Context, dir string, f planFigures) error {
	binary, err := filepath.Abs("bin/mizzen")
	if err != nil {
		return err
	}
	var seconds, cpu, mib []float64
	for range b.runs {
		cmd := exec.CommandContext(ctx, binary, "plan", "--base", "HEAD", "--fail-on", "none")
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
		if !strings.Contains(out.String(), f.tells) {
			return fmt.Errorf("mizzen plan does not tell %s: %s", f.tells, out.String())
		}
		// That of its workers counts, since it waits for their end.
		cpu = append(cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		seconds, mib = append(seconds, took.Seconds()), append(mib, float64(most)/(1<<20))
	}
	b.results.keep(f.name+"/seconds", seconds...)
	b.results.keep(f.name+"/cpu-seconds", cpu...)
	b.results.keep(f.name+"/peak-mib", mib...)
	b.results.add(f.what+", a new process, seconds", spread(seconds, "%.2f"), f.wanted, b.times())
	b.results.add(f.what+", processor time of all its processes, seconds", spread(cpu, "%.2f"), "", b.times())
	b.results.add(f.what+", peak resident memory of all its processes, MiB", spread(mib, "%.0f"), f.wantedMemory, b.times())
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
	services := b.n(1000)
	objects, err := meshtest.Read(meshtest.City(services))
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

// applicationYAML deploys one service of a city. NUMBER is its number, TEAM that
// of its team.
const applicationYAML = `apiVersion: mizzen.dev/v1alpha1
kind: Application
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec:
  source: {repository: city, path: svc-NUMBER}
`

// writeCity writes the services of a city, each with its Application.
func writeCity(dir string, services int) error {
	city := meshtest.City(services)
	for i := range services {
		fill := strings.NewReplacer("NUMBER", strconv.Itoa(i), "TEAM", strconv.Itoa(i/10))
		city[fmt.Sprintf("apps/svc-%d.yaml", i)] = &fstest.MapFile{Data: []byte(fill.Replace(applicationYAML)), Mode: 0o644}
	}
	return os.CopyFS(dir, city)
}
