package cli_test

import (
	"strings"
	"testing"
)

// TestDoctorLooksAtWhatMakeUpNeeds: nodes whose pods run, unless LAB=kwok.
func TestDoctorLooksAtWhatMakeUpNeeds(t *testing.T) {
	for _, c := range []struct {
		lab   string
		args  []string
		nodes bool
	}{
		{"", nil, true},
		{"live", nil, true},
		{"kwok", nil, false},
		{"", []string{"--live=false"}, false},
		{"kwok", []string{"--live"}, true},
	} {
		t.Setenv("LAB", c.lab)
		l := newLab(t)
		_, said, stderr := l.command(t, append([]string{"doctor"}, c.args...)...) // whether anything lacks does not matter
		if nodes := strings.Contains(said, " programs: "); nodes != c.nodes || !strings.Contains(said, " memory: ") {
			t.Errorf("LAB=%s lab doctor %v looks at nodes: %t, want %t\n%s%s", c.lab, c.args, nodes, c.nodes, said, stderr)
		}
	}
}
