package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

// descendant is a process below that of a cluster.
type descendant struct {
	name string
	id   process.ID
}

// descendants are all processes of a cluster but the first.
func descendants(t *testing.T, pid int) []descendant {
	t.Helper()
	var found []descendant
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		children, _ := os.ReadFile(file) // of a thread that has ended
		for _, child := range strings.Fields(string(children)) {
			id, err := strconv.Atoi(child)
			if err != nil {
				t.Fatal(err)
			}
			p, err := process.Of(id)
			if err != nil {
				continue
			}
			args, _ := os.ReadFile("/proc/" + child + "/cmdline")
			name, rest, _ := bytes.Cut(args, []byte{0})
			if string(name) == "lab" {
				name, _, _ = bytes.Cut(rest, []byte{0})
			}
			found = append(found, descendant{filepath.Base(string(name)), p})
			found = append(found, descendants(t, id)...)
		}
	}
	return found
}

// downLeavesNothing ends a lab, and checks that every process of its clusters,
// those of containers too, has ended with it.
func (l lab) downLeavesNothing(t *testing.T) {
	t.Helper()
	var inside []descendant
	for _, c := range l.status(t).Clusters {
		inside = append(inside, descendants(t, c.Process.PID)...)
	}
	if len(inside) == 0 {
		t.Fatal("nothing runs before the end: that nothing runs after it would prove nothing")
	}
	l.must(t, "down")
	for _, p := range inside {
		if p.id.Alive() {
			t.Errorf("%s outlives the lab", p.name)
		}
	}
}

// component returns the process of that name in a cluster, if there is one.
func component(t *testing.T, c state.Cluster, name string) (process.ID, bool) {
	t.Helper()
	for _, p := range descendants(t, c.Process.PID) {
		if p.name == name {
			return p.id, true
		}
	}
	return process.ID{}, false
}
