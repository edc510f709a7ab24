package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseMounts(t *testing.T) {
	table := "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" +
		"23 22 0:5 / /with\\040space ro,nosuid,nodev,noexec,noatime shared:3 master:1 - tmpfs tmpfs rw\n" +
		"damaged\n"
	want := []mounted{
		{"/", unix.MS_RELATIME},
		{"/with space", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME},
	}
	if diff := cmp.Diff(want, parseMounts(table), cmp.AllowUnexported(mounted{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
