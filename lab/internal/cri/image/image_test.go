package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const table = `
lab/pilot:v1:
  files: {/usr/local/bin/pilot-discovery: pilot-discovery}
  entrypoint: [/usr/local/bin/pilot-discovery]
  user: 1337
  remedy: run ` + "`make lab`" + `
lab/sh:v1:
  entrypoint: [/bin/sh]
`

func store(t *testing.T, extra string) *Store {
	t.Helper()
	s, err := NewStore([]byte(table), filepath.Join(t.TempDir(), "bin"), extra)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMissingFileNamesTheRemedy(t *testing.T) {
	s := store(t, "")
	_, err := s.Get("lab/pilot:v1")
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "bin/pilot-discovery, which is missing") ||
		!strings.HasSuffix(err.Error(), "run `make lab`") {
		t.Errorf("error: %v", err)
	}
	if got := len(s.All()); got != 1 {
		t.Errorf("%d images are listed, want the one that is complete", got)
	}
	file := filepath.Join(s.bin, "pilot-discovery")
	if err := errors.Join(os.Mkdir(s.bin, 0o755), os.WriteFile(file, []byte("12345"), 0o755)); err != nil {
		t.Fatal(err)
	}
	i, err := s.Get("docker.io/lab/pilot:v1")
	if err != nil {
		t.Fatal(err)
	}
	if i.Name != "lab/pilot:v1" || i.Size != 5 || i.User != 1337 || i.GID() != 1337 || i.Files["/usr/local/bin/pilot-discovery"] != file {
		t.Errorf("image: %+v", i)
	}
	// It was there and has gone.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("lab/pilot:v1"); !errors.Is(err, ErrMissing) {
		t.Errorf("error: %v", err)
	}
}

func TestUnknownNameListsTheKnown(t *testing.T) {
	_, err := store(t, "").Get("nginx:latest")
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "lab/pilot:v1, lab/sh:v1") || !strings.Contains(err.Error(), "--images") {
		t.Errorf("error: %v", err)
	}
}

func TestUsersTable(t *testing.T) {
	extra := filepath.Join(t.TempDir(), "images.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(extra, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("mine:v1: {entrypoint: [/bin/true]}")
	s := store(t, extra)
	if _, err := s.Get("mine:v1"); err != nil {
		t.Error(err)
	}
	if _, err := s.Get("nginx"); err == nil || !strings.Contains(err.Error(), extra) {
		t.Errorf("error: %v", err)
	}
	write("mine:v2: {entrypoint: [/bin/true]}")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("mine:v2"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"mine:v3: {entrypoints: [/bin/true]}", "mine:v3: {}", "mine:v3:",
		"mine:v3: {cmd: [x], stopSignal: TERM}", "mine:v3: {cmd: [x], files: {bin/x: x}}", "[]",
	} {
		write(bad)
		if err := s.Reload(); err == nil || !strings.Contains(err.Error(), extra) {
			t.Errorf("%s: error %v", bad, err)
		}
	}
	if _, err := s.Get("mine:v2"); err != nil {
		t.Errorf("a table that cannot be read has displaced the old one: %v", err)
	}
}
