package sandbox

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// Calls that only this architecture has.
var (
	allowedHere []uint32
	deadlyHere  = []uint32{unix.SYS_KEXEC_FILE_LOAD}
)
