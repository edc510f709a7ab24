package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/worker"
)

// escape is a renderer that does what a hostile chart would like to do, once
// it has found a way to run code.
const escape render.Renderer = "Escape"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == render.WorkerCommand {
		os.Exit(worker.Serve(os.Args[2:], worker.Table{escape: tryEscape}, func() {}))
	}
	os.Exit(m.Run())
}

// tryEscape does what o.ReleaseName asks for. Its Output is one ConfigMap that
// says how it went.
func tryEscape(ctx context.Context, fsys fs.FS, o render.Options) (*render.Output, error) {
	attempt, ok := attempts[o.ReleaseName]
	if !ok {
		return nil, fmt.Errorf("no attempt %q", o.ReleaseName)
	}
	said, err := attempt(ctx, fsys, o.Namespace)
	if err != nil {
		said = "failed: " + err.Error()
	}
	return &render.Output{Renderer: escape, Objects: []mizzen.Object{configMap(said)}}, nil
}

func configMap(said string) mizzen.Object {
	return mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "attempt"},
		"data":     map[string]any{"said": said},
	}}}
}

type attempt func(ctx context.Context, fsys fs.FS, arg string) (string, error)

// call makes a system call by its number.
func call(nr uintptr, args ...uintptr) attempt {
	return func(context.Context, fs.FS, string) (string, error) {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := syscall.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return "", errno
		}
		return "succeeded", nil
	}
}

var attempts = map[string]attempt{
	"pid":     func(context.Context, fs.FS, string) (string, error) { return strconv.Itoa(os.Getpid()), nil },
	"nothing": func(context.Context, fs.FS, string) (string, error) { return "done", nil },
	"open": func(_ context.Context, _ fs.FS, name string) (string, error) {
		b, err := os.ReadFile(name)
		return string(b), err
	},
	"write": func(_ context.Context, _ fs.FS, name string) (string, error) {
		return "written", os.WriteFile(name, []byte("x"), 0o600)
	},
	"stat": func(_ context.Context, _ fs.FS, name string) (string, error) {
		_, err := os.Stat(name)
		return "seen", err
	},
	"open on all threads": openOnThreads,
	"exec": func(context.Context, fs.FS, string) (string, error) {
		return "", syscall.Exec("/bin/true", []string{"true"}, nil)
	},
	"start a process": func(context.Context, fs.FS, string) (string, error) {
		_, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
		return "started", err
	},
	"socket unix":  call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0),
	"socket inet":  call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM, 0),
	"socketpair":   call(unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, 0),
	"fork":         call(unix.SYS_CLONE, uintptr(unix.SIGCHLD)),
	"clone3":       call(unix.SYS_CLONE3, 0, 0),
	"ptrace":       call(unix.SYS_PTRACE, unix.PTRACE_TRACEME),
	"unshare":      call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER),
	"mount":        call(unix.SYS_MOUNT),
	"io_uring":     call(unix.SYS_IO_URING_SETUP, 1),
	"bpf":          call(unix.SYS_BPF),
	"keyctl":       call(unix.SYS_KEYCTL),
	"memfd":        call(unix.SYS_MEMFD_CREATE),
	"dup":          call(unix.SYS_DUP, 0),
	"ioctl":        call(unix.SYS_IOCTL, 0, unix.TIOCSTI),
	"map code":     call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE, ^uintptr(0)),
	"unprotect":    call(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 0),
	"kill":         kill(unix.SYS_KILL),
	"tgkill":       kill(unix.SYS_TGKILL),
	"raise limits": raiseLimits,
	"descriptors":  descriptors,
	"environment": func(context.Context, fs.FS, string) (string, error) {
		wd, err := os.Getwd()
		return fmt.Sprintf("%q in %s, %d arguments", os.Environ(), wd, len(os.Args)), err
	},
	"time zone": func(context.Context, fs.FS, string) (string, error) {
		zone, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			return "", err
		}
		return time.Unix(0, 0).In(zone).Format(time.RFC3339) + " " + time.Local.String(), nil
	},
	"print": func(context.Context, fs.FS, string) (string, error) {
		fmt.Println("a library prints")
		return "done", nil
	},
	"fill memory": func(context.Context, fs.FS, string) (string, error) {
		var held [][]byte
		for {
			held = append(held, bytes.Repeat([]byte{1}, 1<<20))
			runtime.KeepAlive(held)
		}
	},
	"hold 200 MiB": func(context.Context, fs.FS, string) (string, error) {
		held := bytes.Repeat([]byte{1}, 200<<20)
		runtime.KeepAlive(held)
		return "done", nil
	},
	"loop": func(context.Context, fs.FS, string) (string, error) {
		for n := 0; ; n++ {
			runtime.KeepAlive(n)
		}
	},
	"recurse": func(context.Context, fs.FS, string) (string, error) {
		return strconv.Itoa(recurse(1)), nil
	},
	"panic": func(context.Context, fs.FS, string) (string, error) {
		panic("a defect")
	},
	"crash": func(context.Context, fs.FS, string) (string, error) {
		go func() { panic("a defect elsewhere\x1b[31m") }()
		select {}
	},
	"exit": func(context.Context, fs.FS, string) (string, error) {
		os.Exit(0)
		return "", nil
	},
	"fill stdout": func(context.Context, fs.FS, string) (string, error) {
		for {
			if _, err := syscall.Write(1, bytes.Repeat([]byte("C\x00\x00\x00\x05xxxxx"), 1000)); err != nil {
				return "", err
			}
		}
	},
	"garbage on stdout": func(context.Context, fs.FS, string) (string, error) {
		_, err := syscall.Write(1, bytes.Repeat([]byte{0xff}, 1000))
		return "written", errors.Join(err, fs.ErrClosed)
	},
	"fill stderr": func(context.Context, fs.FS, string) (string, error) {
		for range 1000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("x", 10_000))
		}
		return "done", nil
	},
	"large object": func(context.Context, fs.FS, string) (string, error) {
		return strings.Repeat("x", 2<<20), nil
	},
	"look up for ever": func(_ context.Context, fsys fs.FS, _ string) (string, error) {
		for i := 0; ; i++ {
			if _, err := fs.Stat(fsys, strconv.Itoa(i)); !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
		}
	},
	"leave the repository": func(_ context.Context, fsys fs.FS, _ string) (string, error) {
		b, err := fs.ReadFile(fsys, "../../../etc/passwd")
		return string(b), err
	},
	"ask for a path outside": func(context.Context, fs.FS, string) (string, error) {
		question := "r../../etc/passwd"
		_, err := syscall.Write(1, append([]byte{'A', 0, 0, 0, byte(len(question))}, question...))
		if err != nil {
			return "", err
		}
		select {}
	},
}

func recurse(n int) int {
	var pad [1024]byte
	if n < 0 {
		return 0 // after more stack than there is
	}
	pad[n%1024] = byte(n)
	return recurse(n+1) + int(pad[(n+1)%1024])
}

// openOnThreads tries a file from threads of its own, old and new ones.
func openOnThreads(context.Context, fs.FS, string) (string, error) {
	const threads = 16
	results := make(chan error)
	for range threads {
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with it
			_, err := os.ReadFile("/etc/passwd")
			results <- err
		}()
	}
	refused := 0
	for range threads {
		if errors.Is(<-results, unix.EPERM) {
			refused++
		}
	}
	return strconv.Itoa(refused), nil
}

// kill signals the process whose id is the argument.
func kill(nr uintptr) attempt {
	return func(_ context.Context, _ fs.FS, arg string) (string, error) {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return "", err
		}
		args := [3]uintptr{uintptr(pid), uintptr(unix.SIGTERM)}
		if nr == unix.SYS_TGKILL {
			args = [3]uintptr{uintptr(pid), uintptr(pid), uintptr(unix.SIGTERM)}
		}
		if _, _, errno := syscall.Syscall(nr, args[0], args[1], args[2]); errno != 0 {
			return "", errno
		}
		return "killed", nil
	}
}

func raiseLimits(context.Context, fs.FS, string) (string, error) {
	limit := unix.Rlimit{Cur: 1000, Max: 1000}
	_, _, errno := syscall.Syscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		return "", errno
	}
	return "raised", nil
}

// descriptors lists what can be read from, beyond standard input, output and
// error, and the poller of the Go runtime, which says EINVAL or EAGAIN.
func descriptors(context.Context, fs.FS, string) (string, error) {
	var open []int
	for fd := 3; fd < 1024; fd++ {
		_, err := syscall.Read(fd, make([]byte, 1))
		if err == nil || err != syscall.EBADF && err != syscall.EINVAL && err != syscall.EAGAIN {
			open = append(open, fd)
		}
	}
	return fmt.Sprint(open), nil
}
