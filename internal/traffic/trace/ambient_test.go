package trace_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"istio.io/istio/pilot/pkg/features"
)

// TestAmbient asks the questions of testdata/ambient in a process of its own,
// since istiod's code reads whether there is an ambient mesh when it starts.
func TestAmbient(t *testing.T) {
	if !features.EnableAmbient {
		args := []string{"-test.run=^TestAmbient$"}
		if *update {
			args = append(args, "-update")
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = append(os.Environ(), "PILOT_ENABLE_AMBIENT=true")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	files, err := filepath.Glob("testdata/ambient/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { scenario(t, file) })
	}
}
