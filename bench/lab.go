package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	config     *rest.Config
	client     client.WithWatch
}

// newLab starts one; close it.
func newLab(ctx context.Context) (*lab, error) {
	dir, err := os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir}
	if out, err := exec.CommandContext(ctx, "bin/lab", "up", "--dir", l.state()).CombinedOutput(); err != nil {
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
		URLs     struct{ Git string }
		Clusters []struct {
			Kubeconfig, AuditLog string
			Process              struct{ PID int }
		}
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return err
	}
	l.git, l.kubeconfig, l.auditLog = status.URLs.Git, status.Clusters[0].Kubeconfig, status.Clusters[0].AuditLog
	l.pid = status.Clusters[0].Process.PID
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
	return url, clone, l.commit(ctx, clone, files, "Begin")
}

// commit writes files, commits and pushes them.
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
		{"push", "-q", "origin", "HEAD:main"},
	} {
		if err := l.run(ctx, clone, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// requests counts the audit log's requests since an offset that keep admits,
// and returns the offset of its end.
func (l *lab) requests(offset int64, keep func(agent, verb, resource string) bool) (count int, end int64, err error) {
	b, err := os.ReadFile(l.auditLog)
	if err != nil {
		return 0, 0, err
	}
	end = int64(len(b))
	for line := range bytes.Lines(b[min(offset, end):]) {
		var e struct {
			UserAgent, Verb string
			ObjectRef       struct{ Resource, Subresource string }
		}
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		resource := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			resource += "/" + e.ObjectRef.Subresource
		}
		if strings.HasPrefix(e.UserAgent, "mizzen") && keep(e.UserAgent, e.Verb, resource) {
			count++
		}
	}
	return count, end, nil
}
