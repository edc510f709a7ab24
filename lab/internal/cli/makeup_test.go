package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

// checkout is one in which only hack/up.sh is real: its bin/lab answers what is
// asked of a state directory, notes what it is told to do, and fails to lay down
// the demo.
type checkout struct {
	lab
	root string
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	c := checkout{lab: lab{dir: state.Dir(t.TempDir())}, root: t.TempDir()}
	script, err := os.ReadFile("../../../hack/up.sh")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"hack/up.sh": string(script),
		"bin/lab": `#!/bin/sh
case $1 in
status) ` + beLab + `=1 exec '` + own + `' "$@" ;;
esac
echo "$@" >>'` + filepath.Join(c.root, "told") + `'
case " $* " in *" --demo "*) exit 2 ;; esac
`,
	} {
		path := filepath.Join(c.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// up runs hack/up.sh, which fails in such a checkout, and returns what it prints
// and what bin/lab was told to do, a line each.
func (c checkout) up(t *testing.T, env ...string) (said, told string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.root, "hack", "up.sh"))
	cmd.Env = append(append(os.Environ(), state.Variable+"="+string(c.dir), "TRACING=", "CLUSTERS=", "JOINED="), env...)
	out, _ := cmd.CombinedOutput() // the exit code says it
	if code := cmd.ProcessState.ExitCode(); code != 2 {
		t.Errorf("up.sh %v: exit code %d, want 2\n%s", env, code, out)
	}
	data, err := os.ReadFile(filepath.Join(c.root, "told"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(out), string(data)
}

// TestMakeUpOfALabThatIsNotReady: it runs all the same. Its nodes are looked at,
// and it is not ended when something else fails.
func TestMakeUpOfALabThatIsNotReady(t *testing.T) {
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, wants string
		status      state.Status
		says        string
		tells, ends bool
	}{
		{"live nodes", "kwok", state.Status{State: state.Starting, Supervisor: self, Clusters: []state.Cluster{{Live: true}}}, "make down", false, false},
		{"simulated nodes", "live", state.Status{State: state.Starting, Supervisor: self, Clusters: []state.Cluster{{}}}, "make down", false, false},
		{"live nodes", "live", state.Status{State: state.Starting, Supervisor: self, Clusters: []state.Cluster{{Live: true}}}, "", true, false},
		{"none", "live", state.Status{}, "", true, true},
	} {
		l := newCheckout(t)
		if err := l.dir.WriteStatus(c.status); err != nil {
			t.Fatal(err)
		}
		said, told := l.up(t, "LAB="+c.wants)
		if !strings.Contains(said, c.says) {
			t.Errorf("%s, LAB=%s: want %q in\n%s", c.what, c.wants, c.says, said)
		}
		if tells := strings.Contains(told, " --demo"); tells != c.tells {
			t.Errorf("%s, LAB=%s: lab was told\n%s", c.what, c.wants, told)
		}
		if ends := strings.HasSuffix(told, "down\n"); ends != c.ends {
			t.Errorf("%s, LAB=%s: it was ended: %t, want %t\n%s", c.what, c.wants, ends, c.ends, told)
		}
	}
}

// TestMakeUpWithClusters: what is asked for arrives at `lab up`, or is refused.
func TestMakeUpWithClusters(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want string
	}{
		{nil, "told: up --live=true --serving"},
		{[]string{"CLUSTERS=2"}, "told: up --live=true --clusters 2 --serving"},
		{[]string{"CLUSTERS=2", "JOINED=1"}, "told: up --live=true --clusters 2 --joined --serving"},
		{[]string{"CLUSTERS=2", "JOINED=0", "LAB=kwok", "IDLE=5s"}, "told: up --live=false --clusters 2 --idle 5s --serving"},
		{[]string{"JOINED=1"}, "told: doctor --live=true --joined"},
		{[]string{"JOINED=1", "LAB=kwok"}, "leave out LAB=kwok"},
		{[]string{"JOINED=yes"}, "want 1"},
	} {
		said, told := newCheckout(t).up(t, append([]string{"LAB="}, c.env...)...)
		for line := range strings.Lines(told) {
			said += "told: " + line
		}
		if !strings.Contains(said, c.want+"\n") && !strings.Contains(said, c.want+" ") {
			t.Errorf("make up %v: want %q in\n%s", c.env, c.want, said)
		}
	}
}
