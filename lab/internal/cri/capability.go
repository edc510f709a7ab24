package cri

import (
	"fmt"
	"slices"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// capabilityNames are those of linux/capability.h, by number.
var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// defaultCapabilities are those of other runtimes without MKNOD: no device
// cgroup keeps a pod from the machine's disks.
var defaultCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP", "NET_BIND_SERVICE",
	"SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

// machineCapabilities reach beyond a pod, to the whole machine where the lab
// runs as root.
var machineCapabilities = []string{
	"ALL", "DAC_READ_SEARCH", "SYS_MODULE", "SYS_RAWIO", "SYS_ADMIN", "SYS_BOOT", "SYS_TIME", "SYS_PACCT", "SYS_TTY_CONFIG", "MKNOD",
	"AUDIT_CONTROL", "AUDIT_READ", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// capabilities returns the numbers of what a container may have, and of what
// an ordinary user in it has from the start. "ALL" is dropped before others
// are added, as other runtimes do.
func capabilities(c *runtimeapi.Capability) (bounding, ambient []int, err error) {
	names := slices.Clone(defaultCapabilities)
	if slices.ContainsFunc(c.GetDropCapabilities(), func(n string) bool { return capabilityName(n) == "ALL" }) {
		names = nil
	}
	for _, n := range append(slices.Clone(c.GetAddCapabilities()), c.GetAddAmbientCapabilities()...) {
		if err := refuse([]rule{{slices.Contains(machineCapabilities, capabilityName(n)), "securityContext.capabilities.add: " + n, noPrivilege}}); err != nil {
			return nil, nil, err
		}
		names = append(names, capabilityName(n))
	}
	for _, n := range c.GetDropCapabilities() {
		names = slices.DeleteFunc(names, func(have string) bool { return have == capabilityName(n) })
	}
	if bounding, err = capabilityNumbers(names); err != nil {
		return nil, nil, err
	}
	ambient, err = capabilityNumbers(c.GetAddAmbientCapabilities())
	return bounding, slices.DeleteFunc(ambient, func(n int) bool { return !slices.Contains(bounding, n) }), err
}

func capabilityName(n string) string { return strings.TrimPrefix(strings.ToUpper(n), "CAP_") }

func capabilityNumbers(names []string) ([]int, error) {
	var numbers []int
	for _, n := range names {
		i := slices.Index(capabilityNames, capabilityName(n))
		if i < 0 {
			return nil, refuse([]rule{{true, "securityContext.capabilities: " + n, fmt.Sprintf("there is no such capability; they are %s", strings.Join(capabilityNames, ", "))}})
		}
		if !slices.Contains(numbers, i) {
			numbers = append(numbers, i)
		}
	}
	return numbers, nil
}
