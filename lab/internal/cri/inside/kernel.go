package inside

import (
	"errors"
	"fmt"
	"os"

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
		info, err := os.Stat(r.in(path))
		if err != nil {
			continue
		}
		if info.IsDir() {
			err = mount("tmpfs", r.in(path), "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		} else {
			err = mount("/dev/null", r.in(path), "", unix.MS_BIND, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
