// Package life runs hack/up.sh and hack/down.sh as `make up` and `make down`
// do, on state directories of its own: again, at the same time, with other
// nodes, after kills, as an ordinary user, and on machines that lack something.
package life

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen/internal/labtest"
)

// lab is a state directory, and the checkout whose programs work on it.
type lab struct {
	*testing.T
	root, dir string
	noted     noted
}

// newLab returns a lab that is not started, and is down when the test ends.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, root: checkout(t), dir: filepath.Join(t.TempDir(), "lab")}
	t.Cleanup(func() {
		l.note()
		if out, err := l.script("down.sh").CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		l.nothingLeft()
	})
	return l
}

// checkout is the root of this one, with what `make up` builds.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(root, "lab", "build.sh"), "live").CombinedOutput(); err != nil {
		t.Fatalf("build the lab: %v\n%s", err, out)
	}
	return root
}

// script is a command of hack/ on the lab, with further environment.
func (l *lab) script(name string, env ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(l.root, "hack", name))
	cmd.Env = append(append(os.Environ(), "MIZZEN_LAB="+l.dir, "LAB=live"), env...)
	return cmd
}

// run executes a script and returns what it prints.
func (l *lab) run(code int, name string, env ...string) string {
	l.Helper()
	cmd := l.script(name, env...)
	out, _ := cmd.CombinedOutput() // the exit code says it
	if got := cmd.ProcessState.ExitCode(); got != code {
		l.Fatalf("%s %v: exit code %d, want %d\n%s", name, env, got, code, out)
	}
	return string(out)
}

// status is what is compared of `lab status -o json`.
type status struct {
	Supervisor process `json:"supervisor"`
	Clusters   []struct {
		Process    process           `json:"process"`
		Kubeconfig string            `json:"kubeconfig"`
		URLs       map[string]string `json:"urls"`
	} `json:"clusters"`
}

type process struct {
	PID int `json:"pid"`
}

func (l *lab) status() status {
	l.Helper()
	out, err := exec.Command(filepath.Join(l.root, "bin", "lab"), "status", "-o", "json", "--dir", l.dir).Output()
	if err != nil {
		l.Fatalf("lab status: %v", err)
	}
	var s status
	if err := json.Unmarshal(out, &s); err != nil {
		l.Fatal(err)
	}
	return s
}

// mizzen is the process that `lab run` started.
func (l *lab) mizzen() (p struct{ Process process }) {
	l.Helper()
	data, err := os.ReadFile(filepath.Join(l.dir, "programs", "mizzen.json"))
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.Process.PID == 0 {
		l.Fatalf("Mizzen: %v, %v", p, err)
	}
	return p
}

// file returns a file of the demo's repository.
func (l *lab) file(name string) string {
	l.Helper()
	out, err := exec.Command("git", "-C", filepath.Join(l.dir, "git", "demo.git"), "show", "main:"+name).Output()
	if err != nil {
		l.Fatalf("%s of the demo: %v", name, err)
	}
	return string(out)
}

// shopAnswers asks the gateway, behind which is web.
func (l *lab) shopAnswers() {
	l.Helper()
	res, err := http.Get(l.status().Clusters[0].URLs["gateway"] + "/")
	if err != nil {
		l.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ App string }
	err = json.NewDecoder(res.Body).Decode(&answer)
	if res.StatusCode != http.StatusOK || err != nil || answer.App != "web" {
		l.Errorf("the shop answers %s from %q, %v; want 200 from web", res.Status, answer.App, err)
	}
}

// contains checks what a script printed.
func (l *lab) contains(out, want string) {
	l.Helper()
	if !strings.Contains(out, want) {
		l.Errorf("want %q in\n%s", want, out)
	}
}

// TestLife takes one state directory through what a user does with it in a
// week.
func TestLife(t *testing.T) {
	l := newLab(t)
	l.run(0, "down.sh")
	for _, script := range []string{"prerequisites.sh", "up.sh"} {
		l.contains(l.run(2, script, "TRACING=true"), "want 1")
	}
	l.contains(l.withLittleMemory(2), "end other programs")
	simulated := l.run(0, "up.sh", "LAB=kwok")
	if lines := strings.Split(strings.TrimSpace(simulated), "\n"); !strings.Contains(lines[len(lines)-1], "no pod runs") {
		t.Errorf("the last line does not say that no pod runs:\n%s", simulated)
	}
	l.contains(l.file("apps/values.yaml"), "\nnodes: kwok\n")
	before := l.status()
	l.contains(l.run(2, "up.sh"), "make down")
	if diff := cmp.Diff(before, l.status()); diff != "" {
		t.Errorf("what ran was not left alone (-before +after):\n%s", diff)
	}
	l.down()

	l.twoAtOnce()
	l.contains(l.file("apps/values.yaml"), "\nnodes: live\n")
	before, mizzen := l.status(), l.mizzen()
	l.contains(l.run(0, "up.sh"), before.Clusters[0].URLs["gateway"])
	l.contains(l.run(2, "up.sh", "LAB=kwok"), "make down")
	l.clonesTwice(l.withLittleMemory(0))
	if diff := cmp.Diff(before, l.status()); diff != "" || l.mizzen() != mizzen {
		t.Errorf("what ran was not kept (-before +after):\n%s", diff)
	}
	l.contains(l.file("apps/values.yaml"), "\nnodes: live\n")
	l.shopAnswers()
	l.killed()
	l.down()
	l.run(0, "down.sh")

	l.run(0, "up.sh", "LAB=kwok")
	l.contains(l.file("apps/values.yaml"), "\nnodes: kwok\n")
	l.stuck()
}

// twoAtOnce starts the lab twice at the same time.
func (l *lab) twoAtOnce() {
	l.Helper()
	outputs := [2]bytes.Buffer{}
	var ups []*exec.Cmd
	for i := range outputs {
		cmd := l.script("up.sh")
		cmd.Stdout, cmd.Stderr = &outputs[i], &outputs[i]
		if err := cmd.Start(); err != nil {
			l.Fatal(err)
		}
		ups = append(ups, cmd)
	}
	for i, cmd := range ups {
		if err := cmd.Wait(); err != nil {
			l.Errorf("one of two at the same time: %v\n%s", err, &outputs[i])
		}
		l.contains(outputs[i].String(), "The demo is synced")
	}
	l.shopAnswers()
}

// withLittleMemory is up.sh on a machine with little memory to spare: too little
// to start a lab, which does not matter to one that runs.
func (l *lab) withLittleMemory(code int) string {
	l.Helper()
	meminfo := filepath.Join(l.TempDir(), "meminfo")
	if err := os.WriteFile(meminfo, []byte("MemAvailable:    1200000 kB\n"), 0o644); err != nil {
		l.Fatal(err)
	}
	cmd := l.script("up.sh")
	before(cmd, "unshare", "--map-root-user", "--mount", "sh", "-ec", `mount --bind "$1" /proc/meminfo; shift; exec "$@"`, "sh", meminfo)
	out, _ := cmd.CombinedOutput() // the exit code says it
	if got := cmd.ProcessState.ExitCode(); got != code {
		l.Fatalf("up.sh with little memory: exit code %d, want %d\n%s", got, code, out)
	}
	return string(out)
}

// clonesTwice does what up.sh says at its end as the first thing to do, again.
func (l *lab) clonesTwice(said string) {
	l.Helper()
	var clone string
	for line := range strings.Lines(said) {
		if strings.Contains(line, "git clone") {
			clone = line
		}
	}
	cmd := exec.CommandContext(l.Context(), "sh", "-euc", clone+"git -C . log -1\n"+clone+"git log -1")
	cmd.Env = append(os.Environ(), "TMPDIR="+l.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || clone == "" {
		l.Errorf("%q, twice: %v\n%s", clone, err, out)
	}
}

// killed kills what runs the pods, and then what runs all: nothing has to be
// cleaned up for the shop to answer again, from other processes at the same
// address.
func (l *lab) killed() {
	l.Helper()
	for _, victim := range []struct {
		name string
		pid  func(status) int
	}{
		{"lab-cri", func(s status) int { return l.child(s.Clusters[0].Process.PID, "lab-cri") }},
		{"the supervisor", func(s status) int { return s.Supervisor.PID }},
	} {
		before := l.status()
		inside := family(before.Clusters[0].Process.PID)
		if err := syscall.Kill(victim.pid(before), syscall.SIGKILL); err != nil {
			l.Fatalf("kill %s: %v", victim.name, err)
		}
		l.run(0, "up.sh")
		l.ended(inside)
		after := l.status()
		if before.Clusters[0].Process == after.Clusters[0].Process {
			l.Errorf("%s was killed, and process 1 of the cluster goes on", victim.name)
		}
		if diff := cmp.Diff(before.Clusters[0].URLs, after.Clusters[0].URLs); diff != "" {
			l.Errorf("%s was killed, and addresses are others (-before +after):\n%s", victim.name, diff)
		}
		l.shopAnswers()
	}
}

// child is the child of a process that executes a program.
func (l *lab) child(parent int, program string) int {
	l.Helper()
	for _, pid := range children(parent) {
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // others end while we look
		if strings.TrimSpace(string(comm)) == program {
			return pid
		}
	}
	l.Fatalf("process %d has no child %s", parent, program)
	return 0
}

// stuck pushes what cannot be applied, and starts the lab anew: it says which
// Application it waits for, and why.
func (l *lab) stuck() {
	l.Helper()
	out, err := exec.Command("sh", "-euc", `
		git clone -q "$1/git/demo.git" "$2" && cd "$2"
		sed -i 's/replicas:/replicsa:/' services/catalog/overlays/prod/replicas.yaml
		git -c user.name=Ada -c user.email=ada@example.test commit -qam 'Misspell replicas'
		git push -q`, "sh", l.dir, filepath.Join(l.TempDir(), "demo")).CombinedOutput()
	if err != nil {
		l.Fatalf("push: %v\n%s", err, out)
	}
	l.run(0, "down.sh")
	l.contains(l.run(3, "up.sh", "LAB=kwok", "WAIT=1s"), "not synced after 1s")
	labtest.Eventually(l.T, "up.sh to say what is wrong with catalog", func(context.Context) bool {
		said := l.run(3, "up.sh", "LAB=kwok", "WAIT=1s")
		return strings.Contains(said, "catalog: ") && strings.Contains(said, "replicsa")
	})
}
