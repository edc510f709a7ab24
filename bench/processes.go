package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// spent is what processes have taken.
type spent struct {
	cpu time.Duration
	// rss counts a page that several share for each of them.
	rss int64
}

// usageOf is the processor time and resident memory of a process and all below
// it.
func usageOf(pid int) (cpu time.Duration, rss int64) {
	var sum spent
	for _, p := range tree(pid) {
		sum.cpu += p.cpu
		sum.rss += p.rss
	}
	return sum.cpu, sum.rss
}

// member is one process of a tree.
type member struct {
	pid, parent int
	spent
}

// tree are processes and all below them. Which thread of a process started
// another is of no interest, so it looks for parents and not for children.
func tree(roots ...int) (members []member) {
	children := map[int][]member{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	wanted := map[int]bool{}
	for _, pid := range roots {
		wanted[pid] = true
	}
	for _, dir := range dirs {
		m, ok := memberOf(dir)
		switch {
		case !ok: // it has ended
		case wanted[m.pid]:
			members = append(members, m)
		default:
			children[m.parent] = append(children[m.parent], m)
		}
	}
	for i := 0; i < len(members); i++ {
		members = append(members, children[members[i].pid]...)
	}
	return members
}

func memberOf(dir string) (m member, ok bool) {
	b, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return m, false
	}
	m.pid, _ = strconv.Atoi(filepath.Base(dir))
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	m.parent, _ = strconv.Atoi(fields[1])
	const clockTick, page = 100, 4096
	for _, i := range []int{11, 12, 13, 14} { // utime, stime and those of ended children
		ticks, _ := strconv.Atoi(fields[i])
		m.cpu += time.Duration(ticks) * time.Second / clockTick
	}
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	m.rss = pages * page
	return m, true
}

// memory is the process's share of the machine's: a page that n processes map
// counts for an nth. For processes of others, which do not show that, it is
// all that is resident.
func (m member) memory() (size int64, shared bool) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", m.pid))
	if err != nil {
		return m.rss, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err == nil
		}
	}
	return m.rss, false
}

// isProxy says whether the process belongs to a sidecar.
func (m member) isProxy() bool {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.pid))
	switch strings.TrimSpace(string(name)) {
	case "envoy", "pilot-agent":
		return true
	}
	return false
}

// inotifyLimit is how many instances each user of the machine may have.
func inotifyLimit() int {
	b, _ := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// sidecarRoom is how many more sidecars there are inotify instances for. Each
// takes three of its user.
func sidecarRoom() int {
	held := map[uint32]int{}
	most := 0
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if to, _ := os.Readlink(file); to != "anon_inode:inotify" {
			continue
		}
		info, err := os.Stat(filepath.Dir(filepath.Dir(file)))
		if err != nil {
			continue
		}
		uid := info.Sys().(*syscall.Stat_t).Uid
		held[uid]++
		most = max(most, held[uid])
	}
	const each, reserve = 3, 2
	return max(0, (inotifyLimit()-most)/each-reserve)
}
