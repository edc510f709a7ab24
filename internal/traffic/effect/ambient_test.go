package effect_test

import (
	"os"
	"os/exec"
	"testing"

	"istio.io/istio/pilot/pkg/features"

	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
)

// TestAmbient compares the scenarios of testdata/ambient in a process of its
// own, since istiod's code reads whether there is an ambient mesh when it
// starts.
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
	all, err := scenario.ReadAll("testdata/ambient")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) { told(t, s) })
	}
}
