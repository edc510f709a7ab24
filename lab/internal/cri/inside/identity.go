package inside

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Identity is whom a container's processes run as and what they may do.
type Identity struct {
	UID, GID int
	// Groups are the supplementary ones.
	Groups []int
	// Capabilities bound what root, or an executable's file capabilities, may
	// have (capabilities(7), numbers). Ambient ones, which are among them, are
	// kept by an ordinary user as well.
	Capabilities []int
	Ambient      []int
	// NoNewPrivileges makes set-user-id bits and file capabilities ineffective.
	NoNewPrivileges bool
}

// assume gives up everything else. The calling goroutine is locked to its
// thread, which alone is changed: exec ends the others.
func (i *Identity) assume() error {
	// The process may open what /dev/stdout leads to, as under runc; Envoy's
	// access log does.
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
			_ = unix.Fchown(fd, i.UID, i.GID)
		}
	}
	if err := i.bound(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	if err := i.become(); err != nil {
		return err
	}
	if err := i.capabilities(); err != nil {
		return err
	}
	if i.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("forbid new privileges: %w", err)
		}
	}
	return nil
}

// bound drops every other capability from the bounding set.
func (i *Identity) bound() error {
	for c := 0; ; c++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			return nil // there are no more
		}
		if has == 0 || slices.Contains(i.Capabilities, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
}

func (i *Identity) become() error {
	if err := i.setGroups(); err != nil {
		return err
	}
	if err := unix.Setresgid(i.GID, i.GID, i.GID); err != nil {
		return i.unmapped("group", i.GID, err)
	}
	if err := unix.Setresuid(i.UID, i.UID, i.UID); err != nil {
		return i.unmapped("user", i.UID, err)
	}
	return nil
}

func (i *Identity) setGroups() error {
	err := unix.Setgroups(i.Groups)
	if err == nil {
		return nil
	}
	// Where one id is mapped by an ordinary user, nobody may set groups; then
	// "no groups" is what there is.
	said, _ := os.ReadFile("/proc/self/setgroups")
	if len(i.Groups) == 0 && errors.Is(err, unix.EPERM) && strings.TrimSpace(string(said)) == "deny" {
		return nil
	}
	return fmt.Errorf("set supplementary groups %v: %w", i.Groups, err)
}

// unmapped explains the error of an id that the user namespace lacks.
func (i *Identity) unmapped(kind string, id int, err error) error {
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("run as %s %d: the node has no such id; give its user a larger range in /etc/sub%sid: %w", kind, id, kind[:1], err)
	}
	return fmt.Errorf("run as %s %d: %w", kind, id, err)
}

// capabilities sets those of this thread. What remains after exec is the
// kernel's rule: the bounding set for root, the ambient set for others. None
// is inheritable but the ambient ones, as in runc since CVE-2022-29162.
func (i *Identity) capabilities() error {
	var data [2]unix.CapUserData
	for _, c := range i.Capabilities {
		data[c/32].Permitted |= 1 << (c % 32)
	}
	for _, c := range i.Ambient {
		data[c/32].Inheritable |= 1 << (c % 32)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for n := range data {
		// The runtime itself may lack some, in a container say.
		data[n].Permitted &= have[n].Permitted
		data[n].Effective = data[n].Permitted
		data[n].Inheritable &= data[n].Permitted
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	for _, c := range i.Ambient {
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("raise ambient capability %d: %w", c, err)
		}
	}
	return nil
}
