package cri

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// How often the memory of containers with a limit is looked at, and that of
// those which have used half of it.
const (
	watchAll  = time.Second
	watchNear = watchAll / 10
)

// reasonMemory is the reason of such an end as the kubelet's users know it.
const reasonMemory = "OOMKilled"

// memoryLimit returns a container's in bytes, or 0 for none.
func memoryLimit(r *runtimeapi.LinuxContainerResources) uint64 {
	return uint64(max(r.GetMemoryLimitInBytes(), 0))
}

// bounded is a running container with a memory limit.
type bounded struct {
	c     *container
	limit uint64
	// first is its process 1, processes all that were seen last.
	first     int
	processes []int
}

// watchMemory ends containers that use more memory than they may: the kernel
// does it only where there are cgroups.
func (s *Server) watchMemory(ctx context.Context) {
	var near []*bounded
	for looked := time.Now(); ; {
		pause := watchAll
		if len(near) > 0 {
			pause = watchNear
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if time.Since(looked) >= watchAll {
			near, looked = s.bounded(), time.Now()
		}
		near = slices.DeleteFunc(near, func(b *bounded) bool { return b.enforce() <= b.limit/2 })
	}
}

// bounded returns the running containers with a limit, and their processes.
func (s *Server) bounded() []*bounded {
	var all []*bounded
	for _, c := range s.selectContainers("", "", nil) {
		c.mu.Lock()
		if c.process != nil && c.memoryLimit > 0 {
			all = append(all, &bounded{c: c, limit: c.memoryLimit, first: c.process.Pid})
		}
		c.mu.Unlock()
	}
	if len(all) == 0 {
		return nil
	}
	byNamespace := map[string]*bounded{}
	for _, b := range all {
		byNamespace[pidNamespace(b.first)] = b
	}
	delete(byNamespace, "") // of what has ended
	for _, pid := range processes() {
		if b := byNamespace[pidNamespace(pid)]; b != nil {
			b.processes = append(b.processes, pid)
		}
	}
	return all
}

// enforce returns how many bytes the container uses, and ends it if these are
// too many. What a child shares with its parent is counted twice at first.
func (b *bounded) enforce() uint64 {
	used := b.sum(anonymous)
	if used <= b.limit {
		return used
	}
	if used = b.sum(proportional); used > b.limit {
		b.c.endForMemory(b.first, fmt.Sprintf("it used %d KiB of memory, and its limit is %d KiB", used>>10, b.limit>>10))
	}
	return used
}

// sum adds up what the processes have and what was written to the root, which
// is memory too.
func (b *bounded) sum(of func(pid int) uint64) uint64 {
	used, _ := written(b.first)
	for _, pid := range b.processes {
		used += of(pid)
	}
	return used
}

// endForMemory kills the container, unless it has ended already.
func (c *container) endForMemory(first int, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil || c.process.Pid != first {
		return
	}
	c.overLimit = why
	_ = c.process.Signal(unix.SIGKILL) // it may have ended, which is what is wanted
}

// anonymous returns how much memory of a process is not that of a file, by
// proc_pid_statm(5): all that is resident but what is, or can be, shared.
func anonymous(pid int) uint64 {
	statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // it may have ended
	fields := bytes.Fields(statm)
	if len(fields) < 3 {
		return 0
	}
	resident, _ := strconv.ParseUint(string(fields[1]), 10, 64)
	shared, _ := strconv.ParseUint(string(fields[2]), 10, 64)
	return (resident - min(shared, resident)) * uint64(os.Getpagesize())
}

// proportional is anonymous, with each page divided by the number of processes
// that share it. To find out takes the kernel long.
func proportional(pid int) uint64 {
	rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range bytes.Lines(rollup) {
		if value, ok := bytes.CutPrefix(line, []byte("Pss_Anon:")); ok {
			kib, _ := strconv.ParseUint(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))), 10, 64)
			return kib << 10
		}
	}
	return 0
}
