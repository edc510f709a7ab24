package inside

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// devices makes a small /dev. Its nodes are the node's: nobody but the kernel
// may create some in a user namespace.
func (r *Root) devices() error {
	dev := r.in("/dev")
	if err := os.Mkdir(dev, 0o755); err != nil {
		return fmt.Errorf("create /dev: %w", err)
	}
	if err := mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if _, err := os.Stat("/dev/" + name); err != nil {
			continue
		}
		if err := r.bind(Mount{Source: "/dev/" + name, Target: "/dev/" + name}); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/pts", "/shm"} {
		if err := os.Mkdir(dev+dir, 0o755); err != nil {
			return fmt.Errorf("create /dev%s: %w", dir, err)
		}
	}
	if err := mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	for name, to := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, dev+"/"+name); err != nil {
			return fmt.Errorf("create /dev/%s: %w", name, err)
		}
	}
	return nil
}

// kernel mounts /proc and /sys of the new namespaces.
func (r *Root) kernel() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, dir := range []string{"/proc", "/sys"} {
		if err := os.Mkdir(r.in(dir), 0o755); err != nil {
			return fmt.Errorf("create %s: %w", dir, err)
		}
	}
	if err := mount("proc", r.in("/proc"), "proc", flags, ""); err != nil {
		return fmt.Errorf("%w (the kernel refuses a new /proc to a user namespace where parts of the old one are hidden, as in most containers)", err)
	}
	if mount("sysfs", r.in("/sys"), "sysfs", flags|unix.MS_RDONLY, "") == nil {
		return nil
	}
	// The same rule, where a view of the node's interfaces does no harm.
	if err := mount("/sys", r.in("/sys"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return readOnly(r.in("/sys"), true)
}

// protect hides and write-protects what the kubelet says: root in a pod could
// otherwise change settings of the whole machine.
func (r *Root) protect() error {
	for _, path := range r.Unwritable {
		err := unix.Mount(r.in(path), r.in(path), "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("protect %s: %w", path, err)
		}
		if err := readOnly(r.in(path), true); err != nil {
			return err
		}
	}
	for _, path := range r.Masked {
		if err := cover(r.in(path)); err != nil {
			return err
		}
	}
	return nil
}

// hideProcesses covers each /proc that came with a volume or from the host. By
// /proc/PID/root, and the capability SYS_PTRACE, one would lead to mounts that
// can be written, and to the memory of the node's own processes.
func (r *Root) hideProcesses() error {
	for _, m := range mounts() {
		path, inside := strings.CutPrefix(m.Path, r.in(""))
		if m.Type != "proc" || !inside || path == "/proc" || strings.HasPrefix(path, "/proc/") {
			continue
		}
		if err := cover(m.Path); err != nil {
			return err
		}
	}
	return nil
}

// cover hides what is at path, if there is something.
func cover(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil
	case info.IsDir():
		return mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	return mount("/dev/null", path, "", unix.MS_BIND, "")
}
