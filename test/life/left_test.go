package life

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// identity is a process for ever: who gets its number later began later.
type identity struct {
	pid int
	// start is when it began, in hundredths of a second after the boot.
	start uint64
}

// identify returns the process that has a number now, and whether it runs: a
// zombie does not, unless other threads of it do (proc_pid_stat(5), fields 3, 20
// and 22).
func identify(pid int) (id identity, runs bool) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // it may end while we look
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return identity{pid: pid}, false
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return identity{pid, start}, err == nil && fields[0] != "X" && (fields[0] != "Z" || fields[17] != "1")
}

func (id identity) alive() bool {
	now, runs := identify(id.pid)
	return runs && now == id
}

// family are a process and all below it, those of containers too.
func family(pid int) []identity {
	id, runs := identify(pid)
	if !runs {
		return nil
	}
	all := []identity{id}
	for _, child := range children(pid) {
		all = append(all, family(child)...)
	}
	return all
}

func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is none to complain of
	for _, list := range lists {
		data, _ := os.ReadFile(list) // threads end while we look
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// noted is what runs of a lab at some moment, and what would be left of it if
// something went wrong.
type noted struct {
	processes []identity
	// networks are the namespaces of its clusters and pods, "net:[…]".
	networks map[string]bool
	// at is the moment, as identity.start.
	at uint64
}

// note notes what runs of the lab, ready or not: its supervisor, Mizzen, and all
// below them.
func (l *lab) note() {
	l.Helper()
	l.noted = noted{networks: map[string]bool{}}
	out, _ := exec.Command(filepath.Join(l.root, "bin", "lab"), "status", "-o", "json", "--dir", l.dir).Output() // 1 for a lab that is not ready
	var s status
	if err := json.Unmarshal(out, &s); err != nil {
		l.Fatalf("lab status: %v\n%s", err, out)
	}
	roots := []int{s.Supervisor.PID}
	programs, _ := filepath.Glob(filepath.Join(l.dir, "programs", "*.json")) // the pattern is none to complain of
	for _, file := range programs {
		var p struct{ Process process }
		if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &p) == nil {
			roots = append(roots, p.Process.PID)
		}
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		l.Fatal(err)
	}
	for _, root := range roots {
		if root > 0 {
			l.noted.processes = append(l.noted.processes, family(root)...)
		}
	}
	for _, p := range l.noted.processes {
		if network, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.pid)); err == nil && network != own {
			l.noted.networks[network] = true
		}
	}
	l.noted.at = now(l)
}

// now is the time as identity.start has it.
func now(l *lab) uint64 {
	l.Helper()
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		l.Fatal(err)
	}
	var seconds float64
	if _, err := fmt.Sscan(string(data), &seconds); err != nil {
		l.Fatalf("/proc/uptime: %v", err)
	}
	return uint64(seconds * 100)
}

// down ends a lab that runs, and checks that nothing of it is left.
func (l *lab) down() {
	l.Helper()
	l.note()
	if len(l.noted.processes) == 0 {
		l.Fatal("nothing runs before the end: that nothing runs after it would prove nothing")
	}
	l.run(0, "down.sh")
	l.nothingLeft()
}

// nothingLeft fails if a process that was noted runs, if one works in the lab's
// directory, names it, or has been in one of its networks since then, or if
// something is mounted.
func (l *lab) nothingLeft() {
	l.Helper()
	l.ended(l.noted.processes)
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		l.Fatalf("the processes cannot be listed: %v", err)
	}
	for _, p := range processes {
		command, _ := os.ReadFile(filepath.Join(p, "cmdline")) // others end while we look
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		if bytes.Contains(command, []byte(l.dir)) || strings.HasPrefix(cwd, l.dir) {
			l.Errorf("%s is left in %s: %q", p, cwd, command)
		}
		network, _ := os.Readlink(filepath.Join(p, "ns/net"))
		pid, _ := strconv.Atoi(filepath.Base(p))
		// The number of a namespace that has ended is given to a new one.
		if id, runs := identify(pid); l.noted.networks[network] && runs && id.start <= l.noted.at {
			l.Errorf("%s is left in the network %s: %q", p, network, command)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(l.dir)) {
		l.Errorf("mounts are left: %v\n%s", err, mounts)
	}
	for network := range l.noted.networks {
		if bytes.Contains(mounts, []byte(network)) {
			l.Errorf("the network %s is left, mounted\n%s", network, mounts)
		}
	}
}

// ended fails if one of the processes runs.
func (l *lab) ended(processes []identity) {
	l.Helper()
	for _, p := range processes {
		if p.alive() {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid)) // it may end while we look
			l.Errorf("process %d is left: %q", p.pid, command)
		}
	}
}
