package cri_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestEndOfAContainer(t *testing.T) {
	p := runPod(t, shared)
	for _, c := range []struct {
		name, script string
		code         int32
		reason       string
	}{
		{"ok", "echo out; echo err >&2", 0, "Completed"},
		{"fails", "exit 3", 3, "Error"},
		{"last-word", "printf 'no newline'; exit 255", 255, "Error"},
	} {
		ctr := p.create(c.name, c.script)
		if s := ctr.status(); s.State != runtimeapi.ContainerState_CONTAINER_CREATED || s.CreatedAt == 0 {
			t.Errorf("%s was created as %v", c.name, s)
		}
		if err := ctr.start(); err != nil {
			t.Fatal(err)
		}
		if s := ctr.wait(); s.ExitCode != c.code || s.Reason != c.reason || s.FinishedAt < s.StartedAt || s.StartedAt < s.CreatedAt {
			t.Errorf("%s: %v", c.name, s)
		}
		if err := ctr.start(); err == nil {
			t.Errorf("%s was started again", c.name)
		}
	}
}

func TestCommandThatCannotRun(t *testing.T) {
	p := runPod(t, shared)
	for _, c := range []struct {
		name, says string
		code       int32
		reason     string
		change     change
	}{
		{"missing", "no-such-program", 127, "ContainerCannotRun", func(c *runtimeapi.ContainerConfig) { c.Command = []string{"no-such-program"} }},
		{"missing-path", "/none", 127, "ContainerCannotRun", func(c *runtimeapi.ContainerConfig) { c.Command = []string{"/none"} }},
		{"not-executable", "permission denied", 126, "ContainerCannotRun", func(c *runtimeapi.ContainerConfig) { c.Command = []string{"/etc/passwd"} }},
		{"volume", "/data", 128, "StartError", volume("/usr/none", "/data", false)},
	} {
		ctr := p.create(c.name, "true", c.change)
		err := ctr.start()
		if err == nil || !strings.Contains(message(err), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		s := ctr.wait()
		if s.ExitCode != c.code || s.Reason != c.reason || !strings.Contains(s.Message, c.says) || s.FinishedAt == 0 {
			t.Errorf("%s: %v", c.name, s)
		}
	}
}

func TestStop(t *testing.T) {
	p := runPod(t, shared)
	for _, c := range []struct {
		name, script string
		grace        int64
		code         int32
		changes      []change
	}{
		{"obeys", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", 30, 7, nil},
		{"ignores", "trap '' TERM; echo ready; while :; do sleep 1000; done", 1, 137, nil},
		{"at-once", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", 0, 137, nil},
		{
			"pods-signal", "trap 'exit 8' INT; trap '' TERM; echo ready; while :; do sleep 0.01; done", 30, 8,
			[]change{func(c *runtimeapi.ContainerConfig) { c.StopSignal = runtimeapi.Signal_SIGINT }},
		},
		{"images-signal", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done", 30, 9, []change{image("test/user:v1"), asRoot}},
	} {
		ctr := p.run(c.name, c.script, c.changes...).ready("ready")
		ctr.stop(c.grace)
		if s := ctr.status(); s.State != runtimeapi.ContainerState_CONTAINER_EXITED || s.ExitCode != c.code {
			t.Errorf("%s: %v", c.name, s)
		}
		ctr.stop(c.grace) // again
	}
}

// asRoot makes an image's user one that every node has.
func asRoot(c *runtimeapi.ContainerConfig) {
	c.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{}
}

// A second, impatient stop does not wait for the first one's grace.
func TestStopSooner(t *testing.T) {
	ctr := runPod(t, shared).run("stubborn", "trap '' TERM; echo ready; while :; do sleep 1000; done").ready("ready")
	first := make(chan error, 1)
	go func() {
		_, err := ctr.r.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: ctr.id, Timeout: 3600})
		first <- err
	}()
	ctr.stop(0)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestNoProcessOutlivesProcess1(t *testing.T) {
	p := runPod(t, shared)
	daemon := p.run("daemon", "(setsid sleep 34567 >/dev/null 2>&1 &) ; echo forked; exit 0").ready("forked")
	if s := daemon.wait(); s.ExitCode != 0 {
		t.Errorf("status: %v", s)
	}
	stopped := p.run("stopped", "setsid sleep 34567 & (setsid sleep 34567 &); echo forked; trap '' TERM; while :; do sleep 1000; done").ready("forked")
	eventually(t, "two daemons", func() bool { return processes("34567") == 2 })
	stopped.stop(0)
	if n := processes("34567"); n != 0 {
		t.Errorf("%d processes live on", n)
	}
}

func TestPodEndsItsContainers(t *testing.T) {
	p := runPod(t, shared)
	ctr := p.run("long", "echo ready; exec sleep 45678").ready("ready")
	for range 2 {
		if _, err := shared.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.id}); err != nil {
			t.Fatal(err)
		}
	}
	if s := ctr.status(); s.ExitCode != 137 {
		t.Errorf("status: %v", s)
	}
	st := must[*runtimeapi.PodSandboxStatusResponse](t)(shared.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id}))
	if st.Status.State != runtimeapi.PodSandboxState_SANDBOX_NOTREADY {
		t.Errorf("pod: %v", st.Status)
	}
	_, err := shared.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{PodSandboxId: p.id, Config: containerConfig("late")})
	if err == nil {
		t.Error("a container was created in a pod that has ended")
	}
	p.remove()
	p.remove()
	if _, err := shared.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: ctr.id}); err == nil {
		t.Error("the container of a removed pod is still there")
	}
	ctr.stop(1)
	if _, err := shared.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: ctr.id}); err != nil {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	p := runPod(t, shared)
	ctr := p.run("log", "echo two >&2; echo one; echo three; read x < /tmp/go/fifo; printf four", volume(fifo(t), "/tmp/go", false))
	ctr.ready("three")
	if got := ctr.text("stdout"); got != "one\nthree\n" {
		t.Errorf("stdout: %q", got)
	}
	eventually(t, "stderr", func() bool { return ctr.text("stderr") != "" })
	if got := ctr.text("stderr"); got != "two\n" {
		t.Errorf("stderr: %q", got)
	}
	// The kubelet rotates.
	if err := os.Rename(ctr.log, ctr.log+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := shared.ReopenContainerLog(t.Context(), &runtimeapi.ReopenContainerLogRequest{ContainerId: ctr.id}); err != nil {
		t.Fatal(err)
	}
	if _, err := ctr.exec(10, "/bin/sh", "-c", "echo > /tmp/go/fifo"); err != nil {
		t.Fatal(err)
	}
	ctr.wait()
	if got := ctr.text("stdout"); got != "four" {
		t.Errorf("after the rotation: %q", got)
	}
}

// fifo returns a directory with a FIFO, by which a test lets a script go on.
func fifo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestHundredMegabytes(t *testing.T) {
	p := runPod(t, shared)
	for name, script := range map[string]string{
		// Long ones: nobody rotates this log, which may not be much larger.
		"lines":   "yes $(head -c 1000 /dev/zero | tr '\\0' x) | head -c 100000000",
		"endless": "head -c 100000000 /dev/zero | tr '\\0' x",
	} {
		ctr := p.run(name, script)
		ctr.wait()
		info := must[os.FileInfo](t)(os.Stat(ctr.log))
		if info.Size() < 100_000_000 {
			t.Errorf("%s: the log has %d bytes", name, info.Size())
		}
		if err := os.Remove(ctr.log); err != nil {
			t.Error(err)
		}
	}
	if got := peakMemory(t, shared.cmd.Process.Pid); got > 128<<20 {
		t.Errorf("the server needed %d MiB", got>>20)
	}
}

// peakMemory is the most that a process has had in memory, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	for line := range strings.Lines(string(must[[]byte](t)(os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")))) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return must[int](t)(strconv.Atoi(strings.Fields(v)[0])) << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
