package inside

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/mountinfo"
)

// show makes path of the node visible at the same path of the container. A
// user namespace refuses an overlay of a directory below which there are
// mounts that it inherited, as there are below many a /var; then the
// directory is composed of what is in it.
func (r *Root) show(path string, kind fs.FileMode, all []mountinfo.Mount) error {
	switch {
	case kind&fs.ModeSymlink != 0:
		to, err := os.Readlink(path)
		if err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
		if err := os.Symlink(to, r.in(path)); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
		return nil
	case !kind.IsDir():
		return r.lend(path, touch(r.in(path)))
	}
	if err := os.Mkdir(r.in(path), 0o755); err != nil {
		return fmt.Errorf("show %s: %w", path, err)
	}
	if err := r.overlay(path); err == nil {
		return r.layer(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil || !mountBelow(path, all) {
		return r.lend(path, nil)
	}
	for _, e := range entries {
		if err := r.show(filepath.Join(path, e.Name()), e.Type(), all); err != nil {
			return err
		}
	}
	return nil
}

// lend shows path without a layer to write to. What cannot even be shown, a
// mount of somebody else's FUSE say, is left empty.
func (r *Root) lend(path string, err error) error {
	if err != nil {
		return fmt.Errorf("show %s: %w", path, err)
	}
	if unix.Mount(path, r.in(path), "", unix.MS_BIND|unix.MS_REC, "") != nil {
		return nil
	}
	return readOnly(r.in(path), true)
}

// overlay shows a directory with a layer in memory above it.
func (r *Root) overlay(path string) error {
	r.files++
	work := fmt.Sprintf("%s/work/%d", r.Dir, r.files)
	if err := os.MkdirAll(work, 0o755); err != nil {
		return fmt.Errorf("show %s: %w", path, err)
	}
	if err := r.copyDirs(path); err != nil {
		return err
	}
	return mount("overlay", r.in(path), "overlay", unix.MS_NODEV,
		"lowerdir="+escape(path)+",upperdir="+escape(r.upper(path))+",workdir="+escape(work)+",userxattr")
}

// escape quotes what separates the options of an overlay.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`).Replace(path)
}

// mounts lists those of this namespace.
func mounts() []mountinfo.Mount {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	return mountinfo.Parse(string(table))
}

func mountBelow(dir string, all []mountinfo.Mount) bool {
	return slices.ContainsFunc(all, func(m mountinfo.Mount) bool { return strings.HasPrefix(m.Path, dir+"/") })
}

// resolve follows the node's symbolic links in path, as far as it exists
// (/var/run is /run), but not in directories that the container has for
// itself.
func resolve(path string) string {
	const maxLinks = 40 // as the kernel
	rest, at := strings.Split(filepath.Clean("/"+path), "/"), "/"
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if isFresh(next) {
			return filepath.Join(append([]string{next}, rest...)...)
		}
		to, err := os.Readlink(next)
		if err != nil || links == maxLinks {
			at = next
			continue
		}
		links++
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(filepath.Clean(to), "/"), rest...)
	}
	return at
}
