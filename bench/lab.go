package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/internal/controller"
)

// lab is a fresh Kubernetes and Git server for one run.
type lab struct {
	dir        string
	kubeconfig string
	auditLog   string
	git        string
	pid        int // of the cluster's process
	supervisor int // and of the lab's
	// urls are the relays to the cluster's pods.
	urls map[string]string
	// serving, node and ready are how long after its start the API answered, a
	// live node was Ready, and pods could be scheduled.
	serving, node, ready float64
	config               *rest.Config
	client               client.WithWatch
}

// newLab starts one, by `lab up` with flags; close it.
func newLab(ctx context.Context, flags ...string) (*lab, error) {
	dir, err := os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir}
	up := append([]string{"up", "--dir", l.state()}, flags...)
	if out, err := exec.CommandContext(ctx, "bin/lab", up...).CombinedOutput(); err != nil {
		l.close()
		return nil, fmt.Errorf("bin/lab up: %w: %s", err, out)
	}
	if err := l.connect(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) state() string { return filepath.Join(l.dir, "lab") }

func (l *lab) connect(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "bin/lab", "status", "--dir", l.state(), "-o", "json").Output()
	if err != nil {
		return err
	}
	var status struct {
		URLs       struct{ Git string }
		Supervisor struct{ PID int }
		Clusters   []struct {
			Kubeconfig, AuditLog string
			Process              struct{ PID int }
			URLs                 map[string]string

			ServingSeconds, NodeSeconds, ReadySeconds float64
		}
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return err
	}
	if len(status.Clusters) == 0 {
		return errors.New("the lab has no cluster yet")
	}
	c := status.Clusters[0]
	l.git, l.kubeconfig, l.auditLog, l.urls = status.URLs.Git, c.Kubeconfig, c.AuditLog, c.URLs
	l.pid, l.supervisor = c.Process.PID, status.Supervisor.PID
	l.serving, l.node, l.ready = c.ServingSeconds, c.NodeSeconds, c.ReadySeconds
	if l.config, err = clientcmd.BuildConfigFromFlags("", l.kubeconfig); err != nil {
		return err
	}
	l.config.QPS, l.config.UserAgent = -1, "bench"
	scheme, err := controller.Scheme()
	if err != nil {
		return err
	}
	l.client, err = client.NewWithWatch(l.config, client.Options{Scheme: scheme})
	return err
}

func (l *lab) close() {
	_ = exec.Command("bin/lab", "down", "--dir", l.state()).Run()
	_ = os.RemoveAll(l.dir)
}

// repository creates a Git repository with files and returns its URL.
func (l *lab) repository(ctx context.Context, name string, files map[string]string) (url, clone string, err error) {
	out, err := exec.CommandContext(ctx, "bin/lab", "git", "create", "--dir", l.state(), name).Output()
	if err != nil {
		return "", "", fmt.Errorf("bin/lab git create: %w", err)
	}
	url, clone = strings.TrimSpace(string(out)), filepath.Join(l.dir, name)
	if err := l.run(ctx, l.dir, "git", "clone", "-q", url, clone); err != nil {
		return "", "", err
	}
	if err := l.commit(ctx, clone, files, "Begin"); err != nil {
		return "", "", err
	}
	return url, clone, l.push(ctx, clone)
}

// commit writes files and commits them.
func (l *lab) commit(ctx context.Context, clone string, files map[string]string, subject string) error {
	for name, content := range files {
		path := filepath.Join(clone, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"add", "-A"},
		{"-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-qm", subject},
	} {
		if err := l.run(ctx, clone, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) push(ctx context.Context, clone string) error {
	return l.run(ctx, clone, "git", "push", "-q", "origin", "HEAD:main")
}

func (l *lab) run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// request is one request of Mizzen's as the API server logged it.
type request struct {
	verb string
	// resource is as in RBAC: plural, with "/subresource" if there is one.
	resource, name string
}

// writes tells whether a request changes something, or tries to.
func (r request) writes() bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, r.verb)
}

// audited is where the audit log ends now.
func (l *lab) audited() (offset int64, err error) {
	info, err := os.Stat(l.auditLog)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// requests returns the audit log's requests of ours since an offset. Ours are
// those whose User-Agent begins with "mizzen": the controller's own, and those
// in which it impersonates a service account.
func (l *lab) requests(offset int64) ([]request, error) {
	f, err := os.Open(l.auditLog)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var ours []request
	for line := range bytes.Lines(b) {
		var e struct {
			UserAgent, Verb string
			ObjectRef       struct{ Resource, Subresource, Name string }
		}
		if json.Unmarshal(line, &e) != nil || !strings.HasPrefix(e.UserAgent, "mizzen") {
			continue
		}
		r := request{e.Verb, e.ObjectRef.Resource, e.ObjectRef.Name}
		if e.ObjectRef.Subresource != "" {
			r.resource += "/" + e.ObjectRef.Subresource
		}
		ours = append(ours, r)
	}
	return ours, nil
}

// active counts the requests that a steady state must not make: all but
// watches and leases.
func active(requests []request) (n int) {
	for _, r := range requests {
		if r.verb != "watch" && r.resource != "leases" {
			n++
		}
	}
	return n
}

// labReady measures the start of a lab from built binaries.
func labReady(ctx context.Context, b *bench) error {
	var serving, ready []float64
	for range b.runs {
		l, err := newLab(ctx)
		if err != nil {
			return err
		}
		l.close()
		serving, ready = append(serving, l.serving), append(ready, l.ready)
	}
	b.results.keep("lab/serving-seconds", serving...)
	b.results.keep("lab/ready-seconds", ready...)
	b.results.add("start of a lab until its API answers", spread(serving, "%.1f s"), "<= 4 s", b.times())
	b.results.add("start of a lab until pods can be scheduled", spread(ready, "%.1f s"), "", b.times())
	return nil
}

// liveReady measures the start of a lab whose pods run, from built binaries.
func liveReady(ctx context.Context, b *bench) error {
	var node []float64
	for range b.runs {
		l, err := newLab(ctx, "--live")
		if err != nil {
			return err
		}
		l.close()
		node = append(node, l.node)
	}
	b.results.keep("live/node-seconds", node...)
	b.results.add("start of a live lab until its node is Ready", spread(node, "%.1f s"), "<= 4 s", b.times())
	return nil
}
