package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Isolate makes cmd the first process of mount, network, pid, ipc and uts
// namespaces of its own, and unless the caller is root, of a user namespace.
// It reports whether it is: then MapIDs has to follow the start.
func Isolate(cmd *exec.Cmd) (userNamespace bool) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if os.Geteuid() == 0 {
		return false
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	// The maps are written after the program began, which drops what an
	// unmapped user may do unless it is ambient.
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, c)
	}
	return true
}

// MapIDs gives the user namespace of pid the caller as root, and the caller's
// subordinate ids above. newuidmap(1) and newgidmap(1) do it.
func MapIDs(pid int) error {
	for _, m := range []struct {
		program, file string
		id            int
	}{{"newuidmap", SubordinateUsers, os.Geteuid()}, {"newgidmap", SubordinateGroups, os.Getegid()}} {
		first, count, err := Subordinate(m.file)
		if err != nil {
			return err
		}
		out, err := exec.Command(m.program, strconv.Itoa(pid), "0", strconv.Itoa(m.id), "1",
			"1", strconv.Itoa(first), strconv.Itoa(count)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", m.program, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// The files with the ranges of ids that users may give away (subuid(5)).
const (
	SubordinateUsers  = "/etc/subuid"
	SubordinateGroups = "/etc/subgid"
)

// ErrNoRange says that the user has no subordinate ids.
var ErrNoRange = errors.New("no range of subordinate ids")

// Subordinate returns the caller's first range in one of those files.
func Subordinate(file string) (first, count int, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, fmt.Errorf("subordinate ids: %w", err)
	}
	id := strconv.Itoa(os.Geteuid())
	name := id
	if u, err := user.LookupId(id); err == nil {
		name = u.Username
	}
	first, count, ok := subordinate(string(data), name, id)
	if !ok {
		return 0, 0, fmt.Errorf("%s: %w for %s", file, ErrNoRange, name)
	}
	return first, count, nil
}

func subordinate(text, name, id string) (first, count int, ok bool) {
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || fields[0] != name && fields[0] != id {
			continue
		}
		first, err1 := strconv.Atoi(fields[1])
		count, err2 := strconv.Atoi(fields[2])
		if err1 == nil && err2 == nil && count > 0 {
			return first, count, true
		}
	}
	return 0, 0, false
}

// BecomeRoot makes the first process of a user namespace, whose maps are
// written, its root.
func BecomeRoot() error {
	if err := unix.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("become root of the user namespace: %w", err)
	}
	if err := unix.Setresuid(0, 0, 0); err != nil {
		return fmt.Errorf("become root of the user namespace: %w", err)
	}
	return nil
}
