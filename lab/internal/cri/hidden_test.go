package cri_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestHiddenDirectory has a volume below the directory of the node that is not
// to be seen.
func TestHiddenDirectory(t *testing.T) {
	if entries := must[[]os.DirEntry](t)(os.ReadDir(hidden)); len(entries) == 0 {
		t.Fatalf("%s is empty by itself", hidden)
	}
	p := runPod(t, shared)
	out := p.output("hidden", "ls -A "+hidden+"; touch "+hidden+"/volume/x "+hidden+"/y", volume(t.TempDir(), hidden+"/volume", false))
	if out != "volume\n" {
		t.Errorf("the container sees %q", out)
	}
	p.output("read-only", "! touch "+hidden+"/y", security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true }))
}

// TestProcessesOfTheNodeAreHidden: a volume has a /proc, itself or below it.
func TestProcessesOfTheNodeAreHidden(t *testing.T) {
	p := runPod(t, shared)
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/other", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", dir+"/other", "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir+"/other", 0) })
	out := p.output("all", "ls -A /node/proc /data/other; ls -d /node/etc /proc/1", volume("/", "/node", false), volume(dir, "/data", false))
	if want := "/data/other:\n\n/node/proc:\n/node/etc\n/proc/1\n"; out != want {
		t.Errorf("the container sees %q, want %q", out, want)
	}
}

func TestVolumesThatAreRefused(t *testing.T) {
	p := runPod(t, shared)
	dir := t.TempDir()
	link, socket := filepath.Join(dir, "link"), filepath.Join(dir, "socket")
	if err := os.Symlink(hidden, link); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, why := range map[string]string{
		hidden: "keeps its own directory", hidden + "/none": "keeps its own directory", link + "/bin": "keeps its own directory",
		socket: "use a Service", fifo(t) + "/fifo": "use a Service", "/dev/null": "no devices", "/proc": "processes", "/proc/1": "processes",
	} {
		c := containerConfig("refused", "-c", "true")
		volume(path, "/data", true)(c)
		_, err := shared.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{PodSandboxId: p.id, Config: c, SandboxConfig: p.config})
		if says := message(err); !strings.Contains(says, "volumes: hostPath "+path+": not supported") || !strings.Contains(says, why) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
