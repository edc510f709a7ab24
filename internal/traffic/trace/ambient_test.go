package trace_test

import (
	"path/filepath"
	"strings"
	"testing"

	"mizzen.dev/mizzen/internal/meshtest"
)

// TestAmbient asks the questions of testdata/ambient in a process of its own,
// since istiod's code reads whether there is an ambient mesh when it starts.
func TestAmbient(t *testing.T) {
	var args []string
	if *update {
		args = append(args, "-update")
	}
	if !meshtest.Ambient(t, args...) {
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
