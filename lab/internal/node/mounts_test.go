package node

import (
	"testing"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/mountinfo"
)

func TestFlagsOf(t *testing.T) {
	m := mountinfo.Mount{Options: []string{"ro", "nosuid", "nodev", "noexec", "noatime", "unknown"}}
	if got := flagsOf(m); got != unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_NOATIME {
		t.Errorf("flags of %v: %#x", m, got)
	}
}
