package meshtest

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// Ambient tells whether this process has the ambient mesh switched on. If not,
// it runs the test in one that has, with further arguments, and the test fails
// if it does not pass there: istiod's code reads the setting when it starts.
func Ambient(t *testing.T, args ...string) bool {
	t.Helper()
	const setting = "PILOT_ENABLE_AMBIENT"
	if os.Getenv(setting) == "true" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "-test.v", "-test.run=^"+t.Name()+"$")...)
	cmd.Env = append(os.Environ(), setting+"=true")
	// It ends with the thread that started it, and so when this test is killed.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")) {
		t.Fatalf("with %s=true: %v\n%s", setting, err, out)
	}
	t.Logf("%s", out)
	return false
}
