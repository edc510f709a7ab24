//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What the filter answers. A refused call fails like a file without
// permission, since libraries probe for files in good faith; a fatal call has
// no innocent reason here, so the kernel ends the process.
const (
	allow  = unix.SECCOMP_RET_ALLOW
	refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	absent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	fatal  = unix.SECCOMP_RET_KILL_PROCESS
)

// Offsets in struct seccomp_data; arguments are 64 bit, little endian.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// allowed is what the Go runtime, with and without cgo, needs to compute, to
// collect garbage, to handle signals, to wait, and to use open pipes. Where an
// argument matters, the call is in conditions instead.
var allowed = append([]uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_CLOSE,
	unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MREMAP, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ,
	unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_RESTART_SYSCALL,
	unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_GETTIMEOFDAY,
	unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_PWAIT2,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETRANDOM, unix.SYS_GETRUSAGE, unix.SYS_GETCWD,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}, allowedHere...)

// deadly is what only an attacker calls in a process that renders.
var deadly = append([]uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_FSOPEN, unix.SYS_MOVE_MOUNT,
	unix.SYS_SETNS, unix.SYS_UNSHARE,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
	unix.SYS_OPEN_BY_HANDLE_AT,
}, deadlyHere...)

// newNamespaces are the flags of clone that leave the namespaces.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// ofThread are the flags of clone that together make a thread.
const ofThread = unix.CLONE_VM | unix.CLONE_SIGHAND | unix.CLONE_THREAD

// prSetVMA lets the runtime name its memory, for whoever reads /proc/PID/maps.
const prSetVMA = 0x53564d41

// filter returns the seccomp program for a process. Signals are allowed to
// its own threads alone, by which the Go runtime preempts goroutines.
func filter(pid uint32) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: fatal},
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
		// The x32 numbers of amd64 are other names for the same calls.
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 0x4000_0000, SkipTrue: 1},
		bpf.RetConstant{Val: fatal},
	}
	for _, nr := range allowed {
		p = append(p, when(nr, bpf.RetConstant{Val: allow})...)
	}
	for _, nr := range deadly {
		p = append(p, when(nr, bpf.RetConstant{Val: fatal})...)
	}
	p = append(p, conditions(pid)...)
	return append(p, bpf.RetConstant{Val: refuse})
}

// when runs then, which must return, if the number of the call is nr.
func when(nr uint32, then ...bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipFalse: uint8(len(then))},
	}, then...)
}

// conditions are the calls whose arguments matter.
func conditions(pid uint32) []bpf.Instruction {
	var p []bpf.Instruction
	// clone makes threads, never processes. clone3 hides its flags behind a
	// pointer; libc falls back to clone when it does not exist.
	p = append(p, when(unix.SYS_CLONE,
		low(0),
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: newNamespaces, SkipTrue: 3},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ofThread},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ofThread, SkipFalse: 1},
		bpf.RetConstant{Val: allow},
		bpf.RetConstant{Val: fatal})...)
	p = append(p, when(unix.SYS_CLONE3, bpf.RetConstant{Val: absent})...)
	// Memory is never made executable, and never mapped from a file.
	p = append(p, when(unix.SYS_MMAP,
		low(2),
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.PROT_EXEC, SkipTrue: 3},
		low(3),
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.MAP_ANONYMOUS, SkipFalse: 1},
		bpf.RetConstant{Val: allow},
		bpf.RetConstant{Val: refuse})...)
	p = append(p, when(unix.SYS_MPROTECT,
		low(2),
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.PROT_EXEC, SkipTrue: 1},
		bpf.RetConstant{Val: allow},
		bpf.RetConstant{Val: refuse})...)
	p = append(p, when(unix.SYS_TGKILL, equal(0, pid)...)...)
	return append(p, when(unix.SYS_PRCTL, equal(0, prSetVMA)...)...)
}

// equal allows the call if the low half of an argument is value. The kernel
// reads all arguments in question as 32 bit.
func equal(arg int, value uint32) []bpf.Instruction {
	return []bpf.Instruction{
		low(arg),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipFalse: 1},
		bpf.RetConstant{Val: allow},
		bpf.RetConstant{Val: refuse},
	}
}

func low(arg int) bpf.Instruction {
	return bpf.LoadAbsolute{Off: uint32(offArgs + 8*arg), Size: 4}
}

// installFilter sets no_new_privs and loads the filter for all threads of the
// process at once (TSYNC, which carries no_new_privs along).
func installFilter() (privileges, seccomp error) {
	raw, err := bpf.Assemble(filter(uint32(unix.Getpid())))
	if err != nil {
		return errors.New("not tried"), err
	}
	program := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	// Both calls must be made by the same thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err, errors.New("it needs no_new_privs")
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	failed, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	switch {
	case errno != 0:
		return nil, fmt.Errorf("load the filter: %w", errno)
	case failed != 0:
		return nil, fmt.Errorf("thread %d has another filter", failed)
	}
	return nil, nil
}
