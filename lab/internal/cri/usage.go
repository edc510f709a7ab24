package cri

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// usage is what the processes of a pid namespace use together.
type usage struct {
	cpuNanoseconds uint64
	residentBytes  uint64
	minorFaults    uint64
	majorFaults    uint64
}

// clockTick is the unit of times in /proc: USER_HZ is 100 everywhere.
const clockTick = 10_000_000

// measure sums up the processes of each pid namespace, by the name that /proc
// has for it. There are no cgroups that would do it.
func measure() map[string]usage {
	all := map[string]usage{}
	for _, pid := range processes() {
		ns := pidNamespace(pid)
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || ns == "" {
			continue // it has ended
		}
		u := all[ns]
		u.add(stat)
		all[ns] = u
	}
	return all
}

// processes lists those of the node.
func processes() []int {
	var all []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// add adds a process by its proc_pid_stat(5): fields 10 and 12 are page
// faults, 14 to 17 times, those of its dead children included, 24 resident
// pages.
func (u *usage) add(stat []byte) {
	// The second field is the command in parentheses; it may contain any byte.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return
	}
	field := func(n int) uint64 {
		v, _ := strconv.ParseUint(string(fields[n-3]), 10, 64)
		return v
	}
	u.minorFaults += field(10)
	u.majorFaults += field(12)
	for n := 14; n <= 17; n++ {
		u.cpuNanoseconds += field(n) * clockTick
	}
	u.residentBytes += field(24) * uint64(os.Getpagesize())
}

// written returns how much of the memory behind a process's root is used.
func written(pid int) (bytes, inodes uint64) {
	var fs unix.Statfs_t
	if err := unix.Statfs("/proc/"+strconv.Itoa(pid)+"/root", &fs); err != nil {
		return 0, 0
	}
	return (fs.Blocks - fs.Bfree) * uint64(fs.Bsize), fs.Files - fs.Ffree
}

// pidNamespace names the one that a process is in, or is empty if there is no
// such process.
func pidNamespace(pid int) string {
	ns, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	return ns
}
