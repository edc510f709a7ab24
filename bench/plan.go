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
	"testing/fstest"
	"time"

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
	if err := writeCity(dir, services); err != nil {
		return err
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
