package cri_test

import (
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const mebibyte = 1 << 20

// hold is a script that has 40 MB in a variable, and somewhat more besides;
// stay one that keeps them: a shell may become its last command.
const (
	hold = "x=$(head -c 40000000 /dev/zero | tr '\\0' x); "
	stay = "sleep 1000; :"
)

func limit(bytes int64) change {
	return func(c *runtimeapi.ContainerConfig) {
		c.Linux.Resources = &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: bytes}
	}
}

// ranOut waits for the end of a container for want of memory.
func (c *ctr) ranOut() {
	c.t.Helper()
	s := c.wait()
	if s.ExitCode != 137 || s.Reason != "OOMKilled" || !strings.Contains(s.Message, "its limit is") {
		c.t.Errorf("the container has ended with %d, %s, %q", s.ExitCode, s.Reason, s.Message)
	}
}

func TestMemoryLimit(t *testing.T) {
	p := runPod(t, shared)
	p.run("holds", hold+stay, limit(16*mebibyte)).ranOut()
	p.run("writes", "head -c 40000000 /dev/zero > /tmp/x; "+stay, limit(16*mebibyte)).ranOut()
	p.run("child", "("+hold+stay+") & wait", limit(16*mebibyte)).ranOut()
}

// TestSharedMemoryCountsOnce forks processes that have their parent's memory.
// The container that is looked at next runs out of memory, so that this one
// has been looked at.
func TestSharedMemoryCountsOnce(t *testing.T) {
	p := runPod(t, shared)
	const forks = "for i in 1 2 3 4 5 6 7 8; do (while :; do sleep 1000; done) & done; "
	forked := p.run("forks", hold+forks+"echo forked; wait", limit(150*mebibyte)).ready("forked")
	for _, name := range []string{"first", "second"} {
		p.run(name, hold+stay, limit(16*mebibyte)).ranOut()
	}
	if s := forked.status(); s.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Fatalf("the container has ended: %v", s)
	}
	_, err := shared.UpdateContainerResources(t.Context(), &runtimeapi.UpdateContainerResourcesRequest{
		ContainerId: forked.id, Linux: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: 16 * mebibyte},
	})
	if err != nil {
		t.Fatal(err)
	}
	forked.ranOut()
}
