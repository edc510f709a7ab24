//go:build linux && (amd64 || arm64)

package sandbox

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// run returns what the filter says of a system call. The machine of x/net/bpf
// reads packets, so the data is in network order.
func run(t *testing.T, vm *bpf.VM, arch, nr uint32, args ...uint32) uint32 {
	t.Helper()
	data := make([]byte, offArgs+6*8)
	binary.BigEndian.PutUint32(data[offNumber:], nr)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], a)
	}
	verdict, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(verdict)
}

func TestFilter(t *testing.T) {
	const pid = 4711
	vm, err := bpf.NewVM(filter(pid))
	if err != nil {
		t.Fatal(err)
	}
	const goThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD
	private := uint32(unix.MAP_PRIVATE | unix.MAP_ANONYMOUS)
	cases := []struct {
		name string
		nr   uint32
		args []uint32
		want uint32
	}{
		{"read", unix.SYS_READ, nil, allow},
		{"futex", unix.SYS_FUTEX, nil, allow},
		{"openat", unix.SYS_OPENAT, nil, refuse},
		{"openat2", unix.SYS_OPENAT2, nil, refuse},
		{"socket", unix.SYS_SOCKET, nil, refuse},
		{"connect", unix.SYS_CONNECT, nil, refuse},
		{"kill", unix.SYS_KILL, []uint32{pid}, refuse},
		{"seccomp", unix.SYS_SECCOMP, nil, refuse},
		{"prlimit64", unix.SYS_PRLIMIT64, nil, refuse},
		{"a number of the future", 5000, nil, refuse},
		{"execve", unix.SYS_EXECVE, nil, fatal},
		{"execveat", unix.SYS_EXECVEAT, nil, fatal},
		{"x32", 0x4000_0000 | unix.SYS_READ, nil, fatal},
		{"thread of Go", unix.SYS_CLONE, []uint32{goThread}, allow},
		{"thread in a user namespace", unix.SYS_CLONE, []uint32{goThread | unix.CLONE_NEWUSER}, fatal},
		{"fork", unix.SYS_CLONE, []uint32{uint32(unix.SIGCHLD)}, fatal},
		{"vfork", unix.SYS_CLONE, []uint32{unix.CLONE_VM | unix.CLONE_VFORK | uint32(unix.SIGCHLD)}, fatal},
		{"clone3", unix.SYS_CLONE3, nil, absent},
		{"map memory", unix.SYS_MMAP, []uint32{0, 4096, unix.PROT_READ | unix.PROT_WRITE, private}, allow},
		{"map a file", unix.SYS_MMAP, []uint32{0, 4096, unix.PROT_READ, unix.MAP_PRIVATE, 3}, refuse},
		{"map code", unix.SYS_MMAP, []uint32{0, 4096, unix.PROT_READ | unix.PROT_EXEC, private}, refuse},
		{"make code", unix.SYS_MPROTECT, []uint32{0, 4096, unix.PROT_EXEC}, refuse},
		{"make writable", unix.SYS_MPROTECT, []uint32{0, 4096, unix.PROT_WRITE}, allow},
		{"preempt", unix.SYS_TGKILL, []uint32{pid, 1, uint32(unix.SIGURG)}, allow},
		{"signal another", unix.SYS_TGKILL, []uint32{pid + 1, 1, uint32(unix.SIGURG)}, refuse},
		{"name memory", unix.SYS_PRCTL, []uint32{prSetVMA}, allow},
		{"set seccomp", unix.SYS_PRCTL, []uint32{unix.PR_SET_SECCOMP}, refuse},
		{"set dumpable", unix.SYS_PRCTL, []uint32{unix.PR_SET_DUMPABLE}, refuse},
	}
	for _, c := range cases {
		if got := run(t, vm, auditArch, c.nr, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
		if got := run(t, vm, unix.AUDIT_ARCH_I386, c.nr, c.args...); got != fatal {
			t.Errorf("%s by another architecture: %#x, want %#x", c.name, got, uint32(fatal))
		}
	}
	for nr := range uint32(1000) {
		got := run(t, vm, auditArch, nr)
		if got != allow && got != refuse && got != fatal && got != absent {
			t.Errorf("call %d: %#x", nr, got)
		}
	}
}

// TestNoContradiction checks that no call is in two lists, since the first
// would win without a word.
func TestNoContradiction(t *testing.T) {
	seen := map[uint32]bool{}
	for _, list := range [][]uint32{allowed, deadly, {unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_MMAP, unix.SYS_MPROTECT, unix.SYS_TGKILL, unix.SYS_PRCTL}} {
		for _, nr := range list {
			if seen[nr] {
				t.Errorf("call %d is listed twice", nr)
			}
			seen[nr] = true
		}
	}
}

func TestSupported(t *testing.T) {
	if r := Supported(); !r.Confined() {
		t.Errorf("Linux without seccomp? %s", r)
	}
}
