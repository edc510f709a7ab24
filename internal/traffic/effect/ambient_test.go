package effect_test

import (
	"testing"

	"mizzen.dev/mizzen/internal/meshtest"
	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
)

// TestAmbient compares the scenarios of testdata/ambient in a process of its
// own, since istiod's code reads whether there is an ambient mesh when it
// starts.
func TestAmbient(t *testing.T) {
	var args []string
	if *update {
		args = append(args, "-update")
	}
	if !meshtest.Ambient(t, args...) {
		return
	}
	const dir = "testdata/ambient"
	all, err := scenario.ReadAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) { told(t, dir, s) })
	}
}
