package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// newDev is where /dev is furnished before it is moved into place.
const newDev = runDir + "/dev"

// mountDevices replaces /dev by one that has what programs expect, and no
// disk. The nodes are the host's: nobody may make others in a user namespace.
func mountDevices() error {
	if err := os.MkdirAll(newDev, 0o755); err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	if err := unix.Mount("tmpfs", newDev, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("devices: %w", err)
	}
	for _, dir := range []string{"net", "pts", "shm"} {
		if err := os.Mkdir(filepath.Join(newDev, dir), 0o755); err != nil {
			return fmt.Errorf("devices: %w", err)
		}
	}
	if err := bindDevices(); err != nil {
		return err
	}
	for name, target := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, filepath.Join(newDev, name)); err != nil {
			return fmt.Errorf("devices: %w", err)
		}
	}
	if err := unix.Mount("devpts", newDev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	if err := mountMemory(newDev+"/shm", "mode=1777"); err != nil {
		return err
	}
	if err := unix.Mount(newDev, "/dev", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	return nil
}

func bindDevices() error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "net/tun"} {
		if err := bindDevice(name, name); err != nil {
			return err
		}
	}
	// The kubelet reads of processes that ran out of memory there, and does not
	// start without it. The kernel's log is the host's.
	return bindDevice("null", "kmsg")
}

// bindDevice mounts a device of the host under a name; one that the host lacks
// is lacking.
func bindDevice(device, name string) error {
	source := filepath.Join("/dev", device)
	if _, err := os.Stat(source); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	target := filepath.Join(newDev, name)
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("device: %w", err)
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("device %s: %w", name, err)
	}
	return nil
}

const cgroupDir = "/sys/fs/cgroup"

// mountCgroups mounts an empty hierarchy if the host shows none: the kubelet
// looks for one, although it makes no groups here.
func mountCgroups() error {
	if hasCgroups() {
		return nil
	}
	// A user namespace may mount what belongs to a cgroup namespace of its
	// own; entering one is a matter of the thread.
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
			done <- err
			return
		}
		done <- unix.Mount("cgroup2", cgroupDir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}()
	err := <-done
	if err == nil {
		// The groups are the host's.
		err = unix.MountSetattr(unix.AT_FDCWD, cgroupDir, 0, readOnly())
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errCgroups, err)
	}
	return nil
}

func hasCgroups() bool {
	for _, file := range []string{"cgroup.controllers", "memory/cgroup.procs", "unified/cgroup.procs"} {
		if _, err := os.Stat(filepath.Join(cgroupDir, file)); err == nil {
			return true
		}
	}
	return false
}

// sysctls are settings of the whole kernel that the kubelet would make, and
// fails when it cannot (pkg/kubelet/cm, setupKernelTunables).
var sysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// coverSysctls covers the settings with files that have the values that the
// kubelet wants, and the id of the boot with that of this start: to the
// cluster, it is a node that was booted again.
func coverSysctls(boot string) error {
	covers := map[string]string{"kernel/random/boot_id": boot}
	for name, value := range sysctls {
		covers[name] = value
	}
	for name, value := range covers {
		file := filepath.Join(sysctlDir, filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o444); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
		if err := unix.Mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}
