package worker

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"istio.io/istio/pkg/env"
)

// TestFlagsAreDecided fails when a new Istio has a flag of which nobody has
// said whether it changes what is generated, or lacks one that is allowed.
func TestFlagsAreDecided(t *testing.T) {
	b, err := os.ReadFile("testdata/flags-left-out.txt")
	if err != nil {
		t.Fatal(err)
	}
	left := strings.Fields(string(b))
	registered := map[string]bool{}
	about := regexp.MustCompile(`^(PILOT|ENABLE|DISABLE|ISTIO|AMBIENT|UNSAFE|MCS|XDS|JWKS)_`)
	for _, v := range env.VarDescriptions() {
		registered[v.Name] = true
		if about.MatchString(v.Name) && !allowed[v.Name] && !slices.Contains(left, v.Name) {
			t.Errorf("istiod's code reads %s, which is neither allowed nor left out: %s", v.Name, v.Description)
		}
	}
	for name := range allowed {
		if !registered[name] {
			t.Errorf("istiod's code knows no flag %s", name)
		}
		if slices.Contains(left, name) {
			t.Errorf("%s is both allowed and left out", name)
		}
	}
}
