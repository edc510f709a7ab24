// Package demo assembles the demo repository: our own content in repo/, Istio's
// own charts as the dependencies of the wrapper charts in repo/helm-charts, and
// the definitions of the Gateway API. The charts come from the istio.io/istio
// module that the lab is built with, so that no copy of them is kept here. A
// Place comes in; a directory is written.
package demo

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"istio.io/istio/manifests"
)

// The metadata of the one commit: with the same files it is the same commit
// on every machine.
const (
	Author  = "Mizzen Demo <demo@mizzen.dev>"
	Message = "Describe the shop and its mesh"
)

// Date is author's and committer's date.
var Date = time.Date(2026, time.November, 1, 9, 0, 0, 0, time.UTC)

//go:embed all:repo
var content embed.FS

// charts are the directories of Istio's charts, and where they go.
var charts = []struct{ from, to string }{
	{"charts/base", "helm-charts/istio-base/charts/base"},
	{"charts/istio-control/istio-discovery", "helm-charts/istiod/charts/istiod"},
	{"charts/gateway", "helm-charts/gateway/charts/gateway"},
}

// Place is where a demo repository is served.
type Place struct {
	// URL is what Mizzen fetches; empty leaves the placeholder.
	URL string
	// WebhookSecret names the Secret of the namespace mizzen-system that signs
	// announced pushes; empty for none.
	WebhookSecret string
	// Live says that pods run there: istiod injects sidecars, and what needs
	// pods that run is part of the demo.
	Live bool
	// Tracing adds Jaeger to a live demo.
	Tracing bool
}

// What stands in repo/ for a Place.
const (
	placeholderURL = "http://git.invalid/demo.git"
	noSecretValue  = `webhookSecret: ""`
	noSecretRef    = "# webhookSecretRef:"
	kwokNodes      = "\nnodes: kwok\n"
	noTracing      = "\ntracing: false\n"
)

// Write writes the repository's files below dir, which must be empty.
func Write(dir string, at Place) error {
	if err := copyTree(content, "repo", dir); err != nil {
		return err
	}
	for _, file := range []string{"bootstrap.yaml", "apps/values.yaml"} {
		if err := at.fill(filepath.Join(dir, filepath.FromSlash(file))); err != nil {
			return err
		}
	}
	if err := writeGatewayAPI(filepath.Join(dir, filepath.FromSlash(gatewayAPITo))); err != nil {
		return err
	}
	for _, c := range charts {
		if err := copyTree(manifests.FS, c.from, filepath.Join(dir, filepath.FromSlash(c.to))); err != nil {
			return err
		}
	}
	return nil
}

// Version identifies the files, wherever they are served: labs with other
// content have another one.
func Version() (string, error) {
	dir, err := os.MkdirTemp("", "lab-demo-")
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := Write(dir, Place{}); err != nil {
		return "", err
	}
	hash := sha256.New()
	files := os.DirFS(dir)
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		fmt.Fprintf(hash, "%q %d\n", path, len(data))
		hash.Write(data)
		return err
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// fill writes the Place into a file.
func (p Place) fill(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	text := string(data)
	if p.URL != "" {
		text = strings.ReplaceAll(text, placeholderURL, p.URL)
	}
	if p.WebhookSecret != "" {
		text = strings.ReplaceAll(text, noSecretValue, "webhookSecret: "+p.WebhookSecret)
		text = strings.ReplaceAll(text, noSecretRef+" {}", "webhookSecretRef: {name: "+p.WebhookSecret+"}")
	}
	if p.Live {
		text = strings.ReplaceAll(text, kwokNodes, "\nnodes: live\n")
	}
	if p.Tracing {
		text = strings.ReplaceAll(text, noTracing, "\ntracing: true\n")
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

func copyTree(from fs.FS, root, to string) error {
	tree, err := fs.Sub(from, root)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := os.CopyFS(to, tree); err != nil {
		return fmt.Errorf("demo: %s: %w", root, err)
	}
	return nil
}
