// Package tutorial executes docs/tutorial.md as a reader would: every block of
// commands in one shell, in a fresh clone of the checkout, and every block of
// output is compared with what the commands print. In the end no process is
// left. With -update the outputs in the file are replaced by the real ones.
package tutorial

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the real outputs into the tutorial")

const (
	document = "../../docs/tutorial.md"
	// patience bounds a block of commands. A query is repeated for as long until
	// it shows what the document says: a reader is slower than Mizzen, this test
	// may be faster.
	patience = 5 * time.Minute
)

func TestTutorial(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	sh := startShell(t)
	for i := range parts {
		if parts[i].commands == "" {
			continue
		}
		if strings.Contains(parts[i].commands, "make down") && len(sh.processes(t)) == 0 {
			t.Error("nothing runs before the end: that nothing runs after it would prove nothing")
		}
		if ok := t.Run(fmt.Sprintf("line%d", parts[i].line), func(t *testing.T) { sh.follow(t, &parts[i]) }); !ok {
			t.Fatalf("%s:%d: a reader would be stuck here", document, parts[i].line)
		}
	}
	for _, p := range sh.processes(t) {
		t.Errorf("after the end still runs %s", p)
	}
	if *update {
		if err := os.WriteFile(document, []byte(render(parts)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// follow runs a part's commands and compares their output. Queries are
// repeated for a while.
func (s *shell) follow(t *testing.T, p *part) {
	deadline := time.Now().Add(patience)
	for {
		output, code := s.run(t, p.commands)
		if !p.shows {
			if code != 0 {
				t.Fatalf("exit code %d\n%s", code, output)
			}
			return
		}
		if *update {
			output = s.steady(t, p, output)
		}
		difference := compare(p.output, s.generic(output))
		if difference == "" {
			return
		}
		if *update {
			p.output = s.generic(output)
			return
		}
		if !p.query() || time.Now().After(deadline) {
			t.Fatalf("%s\n--- the document says\n%s--- the commands print\n%s", difference, p.output, output)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// steady repeats a query until it shows the same for a while: what a reader
// sees who looks in peace.
func (s *shell) steady(t *testing.T, p *part, output string) string {
	for same := 0; p.query() && same < 5; {
		time.Sleep(500 * time.Millisecond)
		now, _ := s.run(t, p.commands)
		if normalize(s.generic(now)) == normalize(s.generic(output)) {
			same++
		} else {
			same = 0
		}
		output = now
	}
	return output
}

// shell is the reader's.
type shell struct {
	clone  string
	in     io.Writer
	out    *bufio.Reader
	places *strings.Replacer
	back   *strings.Replacer
}

const mark = "==== end of block"

func startShell(t *testing.T) *shell {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	clone, demo := filepath.Join(t.TempDir(), "mizzen"), filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("bash", "-c", cloning, "clone", root, clone).CombinedOutput(); err != nil {
		t.Fatalf("clone the checkout: %v\n%s", err, out)
	}
	cmd := exec.Command("bash")
	cmd.Dir = clone
	cmd.Env = beginner(t)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		down := exec.Command(filepath.Join(root, "bin", "lab"), "down", "--purge", "--dir", filepath.Join(clone, ".lab"))
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("lab down: %v\n%s", err, out)
		}
	})
	return &shell{
		clone: clone, in: in, out: bufio.NewReader(out),
		places: strings.NewReplacer("/tmp/demo", demo),
		back:   strings.NewReplacer(demo, "/tmp/demo", clone, "/home/you/mizzen"),
	}
}

// cloning makes a clone of a checkout, with what is not committed yet. What was
// built is brought along, so that only what depends on the place is built anew.
const cloning = `
set -eu
git clone -q --no-checkout "$1" "$2"
(cd "$1" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T -) | tar -xf - -C "$2"
git -C "$2" reset -q
cp -a "$1/bin" "$2/bin"
`

// processes are those whose command names the clone.
func (s *shell) processes(t *testing.T) (running []string) {
	t.Helper()
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(commands) == 0 {
		t.Fatalf("the processes cannot be listed: %v", err)
	}
	for _, file := range commands {
		command, err := os.ReadFile(file)
		if err == nil && bytes.Contains(command, []byte(s.clone)) { // others end while we look
			running = append(running, filepath.Dir(file)+": "+string(bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
	}
	return running
}

// beginner is the environment of somebody who has configured nothing, whom Git
// does not know, and who shares our caches.
func beginner(t *testing.T) []string {
	t.Helper()
	caches, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	of := strings.Fields(string(caches))
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GIT_") || strings.HasPrefix(v, "MIZZEN_") || strings.HasPrefix(v, "KUBECONFIG=") || strings.HasPrefix(v, "XDG_") || strings.HasPrefix(v, "EMAIL=")
	})
	return append(env, "HOME="+t.TempDir(), "NO_COLOR=1", "GOCACHE="+of[0], "GOMODCACHE="+of[1], "GOPATH="+of[2],
		// Without this Git makes up a name from that of the machine, on some.
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=user.useConfigOnly", "GIT_CONFIG_VALUE_0=true")
}

// run executes commands and returns what they print on both streams.
func (s *shell) run(t *testing.T, commands string) (output string, code int) {
	t.Helper()
	fmt.Fprintf(s.in, "{ %s\n} </dev/null\necho '%s' $?\n", s.places.Replace(commands), mark)
	type result struct {
		output string
		code   int
		err    error
	}
	done := make(chan result, 1)
	go func() {
		var b bytes.Buffer
		for {
			line, err := s.out.ReadString('\n')
			if before, rest, ok := strings.Cut(line, mark+" "); ok {
				b.WriteString(before)
				var r result
				_, r.err = fmt.Sscan(rest, &r.code)
				r.output = b.String()
				done <- r
				return
			}
			b.WriteString(line)
			if err != nil {
				done <- result{output: b.String(), err: err}
				return
			}
		}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatalf("the shell ended: %v\n%s", r.err, r.output)
		}
		return r.output, r.code
	case <-time.After(patience):
		t.Fatalf("not done after %s:\n%s", patience, commands)
	}
	return "", 0
}

// generic replaces the places of this run by those of the document.
func (s *shell) generic(output string) string { return s.back.Replace(output) }
