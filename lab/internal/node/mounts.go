package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/mountinfo"
)

// runDir is for what lives as long as the node: names of sockets there are
// short, whatever the state directory is called.
const runDir = "/run/lab"

const (
	overDir   = runDir + "/over"
	sysctlDir = runDir + "/sysctl"
	criDir    = runDir + "/cri"
	criSocket = runDir + "/cri.sock"
)

// What doctor tells apart of the failures to mount.
var (
	errOverlay = errors.New("mount an overlay")
	errCgroups = errors.New("mount " + cgroupDir)
)

// tree is a directory of the host that stays where it is.
type tree struct {
	path     string
	writable bool
	fd       int
}

// mountAll gives the node a view of the host in which nothing of the host can
// be changed but the writable trees: what was mounted is read-only, and the
// places where the kubelet, kube-proxy and pods write are fresh, in memory.
func mountAll(trees []tree, boot string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := capture(trees); err != nil {
		return err
	}
	for _, step := range []func() error{
		protect, mountProc, mountFresh, mountDevices, mountCgroups,
		func() error { return coverSysctls(boot) },
		func() error { return attach(trees) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// capture takes hold of the trees, before anything covers or protects them.
func capture(trees []tree) error {
	// A tree may be below one that covers it: the shorter path comes first.
	slices.SortFunc(trees, func(a, b tree) int { return len(a.path) - len(b.path) })
	for i := range trees {
		fd, err := unix.OpenTree(unix.AT_FDCWD, trees[i].path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err != nil {
			return fmt.Errorf("take hold of %s: %w", trees[i].path, err)
		}
		trees[i].fd = fd
	}
	return nil
}

// attach puts the trees where they were.
func attach(trees []tree) error {
	for _, t := range trees {
		if !t.writable {
			if err := unix.MountSetattr(t.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, readOnly()); err != nil {
				return fmt.Errorf("make %s read-only: %w", t.path, err)
			}
		}
		if _, err := os.Stat(t.path); errors.Is(err, fs.ErrNotExist) {
			if err := os.MkdirAll(t.path, 0o755); err != nil {
				return fmt.Errorf("place of %s: %w", t.path, err)
			}
		}
		if err := unix.MoveMount(t.fd, "", unix.AT_FDCWD, t.path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("mount %s: %w", t.path, err)
		}
		if err := unix.Close(t.fd); err != nil {
			return fmt.Errorf("mount %s: %w", t.path, err)
		}
	}
	return nil
}

func readOnly() *unix.MountAttr { return &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY} }

// protect makes every mount read-only.
func protect() error {
	err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, readOnly())
	if err == nil {
		return nil
	}
	// One mount that refuses is enough for that to fail.
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	for _, m := range mountinfo.Parse(string(table)) {
		err := unix.Mount("", m.Path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flagsOf(m), "")
		// What another mount covers cannot be reached, neither by us nor by pods.
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("make %s read-only: %w", m.Path, err)
		}
	}
	return nil
}

// mountFlags are those that a remount has to repeat, by the kernel's names.
var mountFlags = map[string]uintptr{
	"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
}

func flagsOf(m mountinfo.Mount) (flags uintptr) {
	for _, option := range m.Options {
		flags |= mountFlags[option]
	}
	return flags
}

// mountProc shows the processes of this pid namespace. What is of the whole
// kernel there is read-only.
func mountProc() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// Settings of the network belong to the namespace.
	const net = "/proc/sys/net"
	if err := bind("/proc/sys", "/proc/sys", false); err != nil {
		return err
	}
	if err := bind(net, net, true); err != nil {
		return err
	}
	for _, name := range []string{"sysrq-trigger", "irq", "bus", "fs"} {
		path := filepath.Join("/proc", name)
		if err := bind(path, path, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// bind mounts source on target. A mount in /proc keeps the flags of /proc.
func bind(source, target string, writable bool) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if writable {
		attr = &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, target, 0, attr); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

// mountFresh covers the places where components write with empty ones.
func mountFresh() error {
	for path, options := range map[string]string{"/tmp": "mode=1777", "/run": "mode=0755", "/var/log": "mode=0755"} {
		if err := mountMemory(path, options); err != nil {
			return err
		}
	}
	for _, dir := range []string{overDir + "/upper", overDir + "/work", sysctlDir, criDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("directory of the node: %w", err)
		}
	}
	// The kubelet has fixed paths below /var/lib/kubelet, which the host need
	// not have.
	options := "lowerdir=/var/lib,upperdir=" + overDir + "/upper,workdir=" + overDir + "/work,userxattr"
	if err := unix.Mount("overlay", "/var/lib", "overlay", 0, options); err != nil {
		return fmt.Errorf("%w over /var/lib: %w", errOverlay, err)
	}
	for dir, mode := range map[string]string{"/var/lib/kubelet": "mode=0755", configDir: "mode=0700"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("directory of the node: %w", err)
		}
		if err := mountMemory(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

func mountMemory(path, options string) error {
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}
