package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// beParent makes the test program a parent: it starts a child, prints the
// child's id, and waits to be killed.
const beParent = "PROCESS_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(beParent) != "" {
		parent()
	}
	os.Exit(m.Run())
}

func parent() {
	child := exec.Command("sleep", "600")
	if err := NewSpawner().Start(child); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(child.Process.Pid)
	<-time.After(10 * time.Minute)
}

func TestChildrenDieWithTheirParent(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), beParent+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	child, err := Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	if !child.Alive() {
		t.Fatal("the child does not run")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for end := time.Now().Add(time.Minute); child.Alive(); {
		if time.Now().After(end) {
			t.Fatal("the child has outlived its parent")
		}
	}
}

func TestReusedIDGetsNoSignal(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []ID{
		{PID: id.PID, Start: id.Start - 1, Boot: id.Boot},
		{PID: id.PID, Start: id.Start, Boot: "another boot"},
		{},
	} {
		if err := other.Signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("signal to %+v: %v, want %v", other, err, os.ErrProcessDone)
		}
		if err := other.End(unix.SIGKILL, time.Second); err != nil {
			t.Errorf("end of %+v: %v", other, err)
		}
	}
	if !id.Alive() {
		t.Fatal("a stranger was killed")
	}
	// Nobody has waited for it yet: a zombie is as good as gone.
	if err := id.End(unix.SIGTERM, 10*time.Second); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}
