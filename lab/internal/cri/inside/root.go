package inside

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is what a container sees as "/": the node's directories under overlays
// whose writes go to memory; /dev, /proc, /sys, /tmp and /run of its own; and
// its volumes.
type Root struct {
	// Dir is an empty directory of the node, which the root is mounted on; no
	// other process sees that mount.
	Dir string
	// Mounts are made in this order.
	Mounts []Mount
	// Create are directories that must exist.
	Create []string
	// Hidden is a directory of the node that is empty in the container, or "".
	Hidden string
	// Masked are hidden, Unwritable made read-only, if they exist.
	Masked     []string
	Unwritable []string
	// ReadOnly protects everything but Mounts and /dev.
	ReadOnly bool

	layers []int // descriptors of the mounts that ReadOnly protects
	files  int   // of directories for overlays
}

// Mount is a file or directory of the node that a container sees.
type Mount struct {
	Source string
	Target string
	// ReadOnly protects it, Recursive also what is mounted below it.
	ReadOnly  bool
	Recursive bool
}

// fresh are the directories of "/" that a container does not share.
var fresh = []string{"dev", "proc", "run", "sys", "tmp"}

func isFresh(path string) bool {
	top, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return slices.Contains(fresh, top)
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

// build makes the root and enters it.
func (r *Root) build() error {
	// Nothing of what follows may reach the node.
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", r.Dir, "tmpfs", unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	if err := os.Mkdir(r.in(""), 0o755); err != nil {
		return fmt.Errorf("create root: %w", err)
	}
	// pivot_root wants a mount point.
	if err := mount(r.in(""), r.in(""), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := r.layer("/"); err != nil {
		return err
	}
	for _, step := range []func() error{
		r.prepare, r.top, r.temporary, r.hide, r.devices, r.kernel, r.volumes, r.hideProcesses, r.protect,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return r.enter()
}

// in returns where path of the container is while its root is being built.
func (r *Root) in(path string) string { return r.Dir + "/root" + path }

// upper returns where what the container writes to path goes.
func (r *Root) upper(path string) string { return r.Dir + "/upper" + path }

// prepare makes mount points in the upper directories, before there are
// overlays: in a user namespace even its root may not write to a directory
// whose owner has no id there, such as the host's /var.
func (r *Root) prepare() error {
	for i, m := range r.Mounts {
		r.Mounts[i].Target = resolve(m.Target)
		if target := r.Mounts[i].Target; !isFresh(target) {
			if err := r.point(m.Source, target); err != nil {
				return err
			}
		}
	}
	for _, dir := range r.Create {
		if dir = resolve(dir); !isFresh(dir) {
			if err := r.copyDirs(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// point makes target in the upper directory a file or directory, as source is.
func (r *Root) point(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	if info.IsDir() {
		return r.copyDirs(target)
	}
	if err := r.copyDirs(filepath.Dir(target)); err != nil {
		return err
	}
	return touch(r.upper(target))
}

// copyDirs creates dir and its parents in the upper directory. Those that the
// node has keep their mode and owner: the overlay shows those of the upper.
func (r *Root) copyDirs(dir string) error {
	if dir == "/" {
		return nil
	}
	if err := r.copyDirs(filepath.Dir(dir)); err != nil {
		return err
	}
	err := os.MkdirAll(r.upper(dir), 0o755)
	if err != nil {
		return fmt.Errorf("create %s: %w", dir, err)
	}
	return r.copyMode(dir)
}

func (r *Root) copyMode(dir string) error {
	var st unix.Stat_t
	if unix.Stat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	// An owner without an id here cannot be given one.
	_ = unix.Chown(r.upper(dir), int(st.Uid), int(st.Gid))
	if err := unix.Chmod(r.upper(dir), st.Mode&0o7777); err != nil {
		return fmt.Errorf("create %s: %w", dir, err)
	}
	return nil
}

func touch(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("create mount point: %w", err)
	}
	return f.Close()
}

// top shows the node's directories of "/".
func (r *Root) top() error {
	entries, err := os.ReadDir("/")
	if err != nil {
		return fmt.Errorf("list /: %w", err)
	}
	all := mounts()
	for _, e := range entries {
		if slices.Contains(fresh, e.Name()) || e.Type().IsRegular() {
			continue
		}
		if err := r.show("/"+e.Name(), e.Type(), all); err != nil {
			return err
		}
	}
	return nil
}

// temporary makes the empty directories. What is written there counts with
// everything else that the container has written.
func (r *Root) temporary() error {
	for dir, mode := range map[string]os.FileMode{"/tmp": os.ModeSticky | 0o777, "/run": 0o755} {
		if err := r.empty(dir, mode); err != nil {
			return err
		}
	}
	return nil
}

// empty mounts an empty directory on path, in the memory of the container.
func (r *Root) empty(path string, mode os.FileMode) error {
	r.files++
	own := fmt.Sprintf("%s/empty/%d", r.Dir, r.files)
	if err := errors.Join(os.MkdirAll(own, 0o755), os.Chmod(own, mode), os.MkdirAll(r.in(path), 0o755)); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	if err := mount(own, r.in(path), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return r.layer(path)
}

// layer remembers the mount at path: a volume may come to lie upon it.
func (r *Root) layer(path string) error {
	fd, err := unix.Open(r.in(path), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount of %s: %w", path, err)
	}
	r.layers = append(r.layers, fd)
	return nil
}

// hide covers what no container is to see, before volumes come to lie there.
func (r *Root) hide() error {
	if r.Hidden == "" {
		return nil
	}
	if _, err := os.Stat(r.in(r.Hidden)); errors.Is(err, fs.ErrNotExist) {
		return nil // below /tmp, say
	}
	return r.empty(r.Hidden, 0o755)
}

// volumes mounts what the pod asks for.
func (r *Root) volumes() error {
	for _, m := range r.Mounts {
		if err := r.bind(m); err != nil {
			return err
		}
	}
	return nil
}

func (r *Root) bind(m Mount) error {
	target := r.in(m.Target)
	info, err := os.Stat(m.Source)
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Target, err)
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if _, missing := os.Lstat(target); missing != nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), touch(target))
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", m.Target, err)
	}
	if err := mount(m.Source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if m.ReadOnly {
		return readOnly(target, m.Recursive)
	}
	return nil
}

// readOnly protects a mount.
func readOnly(path string, recursive bool) error {
	flags := uint(0)
	if recursive {
		flags = unix.AT_RECURSIVE
	}
	if err := setReadOnly(unix.AT_FDCWD, path, flags); err != nil {
		return fmt.Errorf("make %s read-only: %w", path, err)
	}
	return nil
}

// setReadOnly leaves the other flags of a mount as they are, unlike a remount:
// an outer user namespace may have locked some.
func setReadOnly(fd int, path string, flags uint) error {
	return unix.MountSetattr(fd, path, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// enter makes the new root the root, and forgets the old one.
func (r *Root) enter() error {
	if err := os.Chdir(r.in("")); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("enter root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the node's root: %w", err)
	}
	return os.Chdir("/")
}

// seal makes the root read-only, if it is to be.
func (r *Root) seal() error {
	if !r.ReadOnly {
		return nil
	}
	for _, layer := range r.layers {
		if err := setReadOnly(layer, "", unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
	}
	return nil
}
