package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/state"
)

// program returns what runs as "sleeper".
func (l lab) program(t *testing.T) state.Program {
	t.Helper()
	p, err := l.dir.ReadProgram("sleeper")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProgramIsKeptUntilWhatItUsesChanges(t *testing.T) {
	l := newLab(t)
	uses := filepath.Join(t.TempDir(), "kubeconfig")
	run := func() state.Program {
		t.Helper()

		l.must(t, "run", "--uses", uses, "sleeper", "sleep", "600")
		return l.program(t)
	}
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(uses, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	first := run()
	if again := run(); again != first {
		t.Errorf("a second run started %+v, and %+v was there", again, first)
	}
	write("two")
	second := run()
	if first.Process.Alive() || !second.Process.Alive() {
		t.Error("the file changed, and the program was not started anew")
	}
	if err := second.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	third := run()
	if !third.Process.Alive() {
		t.Error("a killed program was not started again")
	}
	l.must(t, "end", "sleeper")
	l.must(t, "end", "sleeper")
	if third.Process.Alive() {
		t.Error("the program outlives its end")
	}

	// What programs keep beside their locks goes with a purge.
	if err := os.WriteFile(filepath.Join(string(l.dir), "programs", "token"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.must(t, "down", "--purge")
	left, err := os.ReadDir(string(l.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if filepath.Ext(e.Name()) != ".lock" {
			t.Errorf("%s is left after a purge", e.Name())
		}
	}
}

func TestDownEndsPrograms(t *testing.T) {
	l := newLab(t)
	l.must(t, "run", "sleeper", "sleep", "600")
	p := l.program(t)
	l.must(t, "down")
	if p.Process.Alive() {
		t.Error("the program outlives the lab")
	}
}

// TestReusedIDOfAProgramIsLeftAlone: the record names a process that is not
// the one that was started.
func TestReusedIDOfAProgramIsLeftAlone(t *testing.T) {
	l := newLab(t)
	l.must(t, "run", "sleeper", "sleep", "600")
	p := l.program(t)
	stale := p
	stale.Process.Start--
	if err := l.dir.WriteProgram("sleeper", stale); err != nil {
		t.Fatal(err)
	}
	l.must(t, "end", "sleeper")
	if !p.Process.Alive() {
		t.Error("a stranger was ended")
	}
	if err := p.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestProgramThatDoesNotExistIsNamed(t *testing.T) {
	l := newLab(t)
	if code, _, stderr := l.command(t, "run", "sleeper", "/no/such/program"); code != 2 || stderr == "" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
