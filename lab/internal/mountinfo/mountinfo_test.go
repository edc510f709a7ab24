package mountinfo_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen/lab/internal/mountinfo"
)

func TestParse(t *testing.T) {
	table := "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n" +
		"23 22 0:5 / /with\\040space ro,nosuid shared:3 master:1 - tmpfs tmpfs rw\n" +
		"damaged\n"
	want := []mountinfo.Mount{
		{Path: "/", Options: []string{"rw", "relatime"}, Type: "ext4"},
		{Path: "/with space", Options: []string{"ro", "nosuid"}, Type: "tmpfs"},
	}
	if diff := cmp.Diff(want, mountinfo.Parse(table)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
