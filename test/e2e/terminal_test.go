package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// On a terminal there are colors, unless NO_COLOR or the terminal wants none.
func TestColorsOnATerminal(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		env     string
		colored bool
	}{{"TERM=xterm", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		screen := onTerminal(t, c.env, "doctor", "--kubeconfig", kubeconfig)
		if !strings.Contains(screen, "kubeconfig") {
			t.Fatalf("mizzen doctor says\n%s", screen)
		}
		if got := strings.Contains(screen, "\x1b["); got != c.colored {
			t.Errorf("with %s: colored is %v, want %v:\n%q", c.env, got, c.colored, screen)
		}
	}
}

// onTerminal runs mizzen on a terminal, and returns what that shows.
func onTerminal(t *testing.T, env string, args ...string) string {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../../bin/mizzen", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.Env = append(os.Environ(), "NO_COLOR=", "TERM=xterm", env)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start bin/mizzen (built by 'make build'): %v", err)
	}
	terminal.Close()
	shown, _ := io.ReadAll(ours) // it ends in an error when nobody has the terminal any more
	_ = cmd.Wait()               // the exit code is not what this is about
	return string(shown)
}
