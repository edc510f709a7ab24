package labtest

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPartsThatAreAskedFor: no combination is silently less than was asked for.
// What hack/up.sh makes of its settings, lab/internal/cli tests.
func TestPartsThatAreAskedFor(t *testing.T) {
	none := tools{root: "/checkout"}
	for _, c := range []struct {
		parts Part
		sort  string
		wants []string
	}{
		{ControlPlane, "", []string{"up --clusters 1 --idle 5s --dir /dir"}},
		{SecondCluster, "", []string{"up --clusters 2 --idle 5s --dir /dir"}},
		{Live, "-live", []string{"up --clusters 1 --idle 5s --live --dir /dir"}},
		{Live | SecondCluster, "-live", []string{"up --clusters 2 --idle 5s --live --dir /dir"}},
		{Joined, "-live-joined", []string{"up --clusters 2 --idle 5s --live --joined --dir /dir"}},
		{Mesh, "-mesh", []string{"MIZZEN_LAB=/dir", "LAB=live", "CLUSTERS=1", "JOINED=", "IDLE=5s"}},
		{Mesh | SecondCluster, "-mesh", []string{"MIZZEN_LAB=/dir", "LAB=live", "CLUSTERS=2", "JOINED=", "IDLE=5s"}},
		{Mesh | Joined, "-mesh-joined", []string{"MIZZEN_LAB=/dir", "LAB=live", "CLUSTERS=2", "JOINED=1", "IDLE=5s"}},
	} {
		t.Setenv("JOINED", "1") // of whoever runs the tests
		cmd := none.up("/dir", c.parts, 5)
		said := append(settings(cmd), strings.Join(cmd.Args[1:], " "))
		for _, want := range c.wants {
			found := false
			for _, s := range said {
				found = found || s == want
			}
			if !found {
				t.Errorf("parts %b: want %q in %q", c.parts, want, said)
			}
		}
		if sort := c.parts.sort(); sort != c.sort {
			t.Errorf("parts %b: %q, want %q", c.parts, sort, c.sort)
		}
	}
}

// settings are the variables of a command as it sees them: the last of a name.
func settings(cmd *exec.Cmd) []string {
	last := map[string]string{}
	for _, v := range cmd.Environ() {
		name, _, _ := strings.Cut(v, "=")
		last[name] = v
	}
	var all []string
	for _, v := range last {
		all = append(all, v)
	}
	return all
}
