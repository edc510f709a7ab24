package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/lint/archive"
)

// The committed archives are what the API server and Istio's module say today.
func TestFresh(t *testing.T) {
	archives, err := fromIstio(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.Start(t, labtest.ControlPlane)
	if archives["kubernetes.gz"], err = fromCluster(l.Config); err != nil {
		t.Fatal(err)
	}
	for name, fresh := range archives {
		packed, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		committed, err := archive.Open(packed)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := len(committed.Kinds()), len(fresh.Kinds()); a != b {
			t.Errorf("%s: %d kinds are committed, %d are served", name, a, b)
		}
		if !bytes.Equal(packed, fresh.Bytes()) {
			t.Errorf("%s is not fresh; run KUBECONFIG=%s go generate ./internal/lint/schemas and commit", name, l.Kubeconfig)
		}
	}
}
