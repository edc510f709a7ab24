package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
)

// A worker that cannot confine itself is told of, although the system seemed
// to offer all that it needs.
func TestDeskWarnsOfUnconfinedWorkers(t *testing.T) {
	script := filepath.Join(t.TempDir(), "worker")
	greeting := `{"version":1,"sandbox":{"missing":[{"protection":"seccomp","reason":"refused"}]}}`
	text := fmt.Sprintf("#!/bin/sh\nprintf 'H\\000\\000\\000\\%03o%%s' '%s'\nexec cat >/dev/null\n", len(greeting), greeting)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, allowed := range []bool{true, false} {
		var stderr bytes.Buffer
		a := &app{Streams: Streams{Out: &bytes.Buffer{}, Err: &stderr}, clock: clock.RealClock{}}
		d, err := a.deskOn(render.PoolConfig{
			Command: []string{script}, AllowUnsandboxed: allowed, DataBytes: -1, Timeout: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"a", "b"} {
			_, err := d.engine.Renderer.Render(t.Context(), memtree.Tree{path + "/c": "x"}, render.Options{Path: path})
			if refused := err != nil && strings.Contains(err.Error(), "--allow-unsandboxed-render"); refused == allowed {
				t.Errorf("allowed %v: %v", allowed, err)
			}
		}
		d.close()
		if n := strings.Count(stderr.String(), "warning: charts are rendered with less protection"); n != 1 || !strings.Contains(stderr.String(), "seccomp (refused)") {
			t.Errorf("allowed %v: warned %d times:\n%s", allowed, n, stderr.String())
		}
	}
}
