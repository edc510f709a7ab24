//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// Supported returns what Enter would be able to do here. It asks the kernel
// and changes nothing.
func Supported() Report {
	var r Report
	_, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	r.add(NoNewPrivs, err)
	_, err = os.ReadDir(descriptorsDir)
	r.add(Descriptors, err)
	r.add(Environment, nil)
	r.add(Limits, nil)
	r.add(Seccomp, seccompSupported())
	r.add(Landlock, landlockSupported())
	return r
}

// Enter confines the whole process: all of its threads, those to come, and
// whatever it might start. There is no way back. Everything that needs a file
// must have happened before. Enter carries on when a layer fails, and the
// Report says which ones hold.
//
// Only pipes or files that are standard input, output and error stay open.
func Enter(b Bounds) Report {
	startPoller()
	var r Report
	r.add(Descriptors, closeDescriptors())
	os.Clearenv()
	r.add(Environment, os.Chdir("/"))
	// Landlock before the limits, since it needs a descriptor of its own, and
	// before seccomp, which forbids its system calls.
	r.add(Landlock, restrictFiles())
	r.add(Limits, setLimits(b))
	privileges, filter := installFilter()
	r.add(NoNewPrivs, privileges)
	r.add(Seccomp, filter)
	return r
}

// startPoller makes the Go runtime open the descriptors of its network
// poller. It does so at the first timer, which after Enter would be fatal. A
// timer with a channel would not do: it starts when somebody waits for it.
func startPoller() { time.AfterFunc(time.Hour, func() {}).Stop() }

const descriptorsDir = "/proc/self/fd"

// closeDescriptors closes what a careless parent has left open, and the files
// that the Go runtime keeps to follow its CPU quota.
func closeDescriptors() error {
	entries, err := os.ReadDir(descriptorsDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		target, err := os.Readlink(descriptorsDir + "/" + e.Name())
		if err != nil {
			continue // it was the descriptor of ReadDir itself
		}
		if target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue // the poller of the Go runtime
		}
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("close %s: %w", target, err)
		}
	}
	return nil
}

// setLimits sets hard limits, which cannot be raised again without privilege;
// with it, seccomp still forbids the call.
func setLimits(b Bounds) error {
	type limit struct {
		resource   int
		soft, hard uint64
	}
	limits := []limit{
		{unix.RLIMIT_CORE, 0, 0},
		{unix.RLIMIT_FSIZE, 0, 0},
		{unix.RLIMIT_NOFILE, 0, 0},
		{unix.RLIMIT_MEMLOCK, 0, 0},
		{unix.RLIMIT_MSGQUEUE, 0, 0},
	}
	if b.DataBytes > 0 {
		limits = append(limits, limit{unix.RLIMIT_DATA, b.DataBytes, b.DataBytes})
	}
	if b.CPU > 0 {
		// The soft limit sends SIGXCPU, by which a worker can say why it ends.
		seconds := uint64((b.CPU + time.Second - 1) / time.Second)
		limits = append(limits, limit{unix.RLIMIT_CPU, seconds, seconds + 2})
	}
	for _, l := range limits {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.soft, Max: l.hard}); err != nil {
			return fmt.Errorf("setrlimit %d: %w", l.resource, err)
		}
	}
	return nil
}

// restrictFiles leaves no file, no TCP port and no foreign process in reach,
// as far as the kernel's version of Landlock goes.
func restrictFiles() error {
	if err := landlockSupported(); err != nil {
		return err
	}
	return landlock.V10.BestEffort().Restrict()
}

// landlockSupported asks for the version of Landlock, which any kernel that
// has it tells.
func landlockSupported() error {
	const versionFlag = 1
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, versionFlag)
	switch {
	case errors.Is(errno, unix.ENOSYS):
		return errors.New("the kernel is older than 5.13")
	case errors.Is(errno, unix.EOPNOTSUPP):
		return errors.New("it is not enabled in this kernel")
	case errno != 0:
		return errno
	}
	return nil
}

// seccompSupported asks for the actions of the filter, and offers one that
// does not exist, which a kernel that could load it refuses with EFAULT.
func seccompSupported() error {
	for _, action := range []uint32{unix.SECCOMP_RET_KILL_PROCESS, unix.SECCOMP_RET_ERRNO} {
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
		if errno != 0 {
			return fmt.Errorf("the kernel does not know an action of the filter: %w", errno)
		}
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, 0)
	if errno != 0 && !errors.Is(errno, unix.EFAULT) {
		return errno
	}
	return nil
}
