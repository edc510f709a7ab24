package life

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ranges are of the ids that somebody without any right may give away. The
// system's own files stay as they are: others are mounted over them where the
// test's commands run, and the checkout where everybody finds it.
const ranges = "65534:1000000:65536\n"

// ordinary returns a command of sh as a user who is not root and has those
// ranges, in a directory that has the checkout and the user's home. Only root
// can become such a user; others are one already, and get nil.
func ordinary(t *testing.T, ranges, commands string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("all tests run as an ordinary user already")
		return nil
	}
	root := checkout(t)
	// The directories of go test are root's alone.
	dir, err := os.MkdirTemp("", "life-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	home := filepath.Join(dir, "home")
	for _, d := range []string{home, filepath.Join(dir, "mizzen")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	ids := filepath.Join(dir, "ids")
	if err := os.WriteFile(ids, []byte(ranges), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", `
		mount --bind "$1" mizzen
		mount --bind ids /etc/subuid
		mount --bind ids /etc/subgid
		exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec "$2"`, "sh", root, commands)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "MIZZEN_LAB="+filepath.Join(home, "lab"), "LAB=live", "MAKEFLAGS=")
	return cmd
}

// TestOrdinaryUser starts all of it without any right, until the shop answers,
// pushes to the demo, and ends it.
func TestOrdinaryUser(t *testing.T) {
	const runs = "all of it runs; press Enter to end it"
	cmd := ordinary(t, ranges, `
		trap mizzen/hack/down.sh EXIT
		mizzen/hack/up.sh
		mizzen/bin/lab status
		git clone -q "$(mizzen/bin/lab demo)" home/demo
		git -C home/demo -c user.name=Ada -c user.email=ada@example.test commit -q --allow-empty -m Mine
		git -C home/demo push -q
		echo '`+runs+`'
		read -r _`)
	if cmd == nil {
		return
	}
	l := &lab{T: t, root: checkout(t), dir: filepath.Join(cmd.Dir, "home", "lab")}
	out, err := answered(cmd, runs, l.note)
	if err != nil || !strings.Contains(out, "  shop         http://127.0.0.1:") || len(l.noted.processes) == 0 {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
	l.dir = cmd.Dir
	l.nothingLeft()
}

// answered runs a command that prints a line and waits for Enter, which it gets
// when do is done. It returns all that the command has printed.
func answered(cmd *exec.Cmd, line string, do func()) (string, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if lines.Text() == line {
			do()
			_, err = fmt.Fprintln(in)
		}
	}
	return said.String(), errors.Join(err, cmd.Wait())
}

// TestUserWithoutRanges gets the one line that mends it, and nothing is
// downloaded, built or started.
func TestUserWithoutRanges(t *testing.T) {
	const line = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
	for _, command := range []string{
		"exec make -s -C mizzen up", "exec mizzen/hack/prerequisites.sh", "exec mizzen/hack/up.sh",
		"exec mizzen/bin/lab up --live",
	} {
		cmd := ordinary(t, "root:100000:65536\n", command)
		if cmd == nil {
			return
		}
		offline(cmd, filepath.Join(cmd.Dir, "home", "modules"))
		out, _ := cmd.CombinedOutput() // the exit code says it
		refused(t, command, cmd, string(out), line)
		if _, err := os.Stat(filepath.Join(cmd.Dir, "home", "lab", "clusters")); !os.IsNotExist(err) {
			t.Errorf("%s: a cluster was started: %v", command, err)
		}
	}
}

// refused checks that a command has ended with one line that mends it, and
// went no further.
func refused(t *testing.T, what string, cmd *exec.Cmd, out, line string) {
	t.Helper()
	if cmd.ProcessState.ExitCode() != 2 || strings.Count(out, line) != 1 {
		t.Errorf("%s: exit code %d, want 2 and one line %q\n%s", what, cmd.ProcessState.ExitCode(), line, out)
	}
	if strings.Contains(out, "download") || strings.Contains(out, "building") {
		t.Errorf("%s: it has gone on\n%s", what, out)
	}
}

// TestKernelRefuses what pods need: before anything is downloaded, the line
// names it and what mends it.
func TestKernelRefuses(t *testing.T) {
	const command = "exec make -s -C mizzen up"
	for _, c := range []struct {
		what, commands, line string
		refuse               func(*exec.Cmd)
	}{
		{
			"no user namespaces", command, "user.max_user_namespaces is 0; mend it: sudo sysctl -w user.max_user_namespaces=15000",
			func(cmd *exec.Cmd) {
				// In a user namespace of its own, the limit is its root's to set.
				all := []syscall.SysProcIDMap{{Size: 1 << 17}}
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags: syscall.CLONE_NEWUSER, UidMappings: all, GidMappings: all, GidMappingsEnableSetgroups: true,
				}
				before(cmd, "sh", "-ec", `echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"`, "sh")
			},
		},
		{
			// As any file system that the kernel does not know.
			"no overlays", `
				mkdir home/bin
				printf '%s\n' '#!/bin/sh' 'exec /usr/bin/env PATH="${PATH#*:}" mount $(echo "$*" | sed "s/-t overlay/-t unheard-of/")' >home/bin/mount
				chmod +x home/bin/mount
				export PATH="$PWD/home/bin:$PATH"
				` + command, "mend it: sudo modprobe overlay", func(*exec.Cmd) {},
		},
	} {
		cmd := ordinary(t, ranges, c.commands)
		if cmd == nil {
			return
		}
		c.refuse(cmd)
		offline(cmd, filepath.Join(cmd.Dir, "home", "modules"))
		out, _ := cmd.CombinedOutput() // the exit code says it
		refused(t, c.what, cmd, string(out), c.line)
	}
}

// TestContainerRefuses root what a container without privileges does not let it
// do.
func TestContainerRefuses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("that is about root, who can become anybody; see TestKernelRefuses")
		return
	}
	for capability, what := range map[string]string{"sys_admin": "namespaces: ", "net_admin": "bridge: "} {
		cmd := exec.CommandContext(t.Context(), "setpriv", "--bounding-set=-"+capability, "make", "-s", "up")
		cmd.Dir, cmd.Env = checkout(t), append(os.Environ(), "LAB=live", "MAKEFLAGS=", "MIZZEN_LAB="+t.TempDir())
		offline(cmd, t.TempDir())
		out, _ := cmd.CombinedOutput() // the exit code says it
		refused(t, "without "+capability, cmd, string(out), "mend it: run in a container with --privileged, or outside of one")
		if !strings.Contains(string(out), what) {
			t.Errorf("without %s: it does not name %q\n%s", capability, what, out)
		}
	}
}

// before makes args, which execute what follows them, the beginning of cmd.
func before(cmd *exec.Cmd, args ...string) {
	wrapped := exec.Command(args[0], append(args[1:], cmd.Args...)...)
	cmd.Path, cmd.Args = wrapped.Path, wrapped.Args
}

// offline gives cmd a directory without any Go module: whatever is asked of the
// network is refused, and heard of.
func offline(cmd *exec.Cmd, modules string) {
	cmd.Env = append(cmd.Env, "GOPROXY=http://127.0.0.1:1", "GOFLAGS=-modcacherw", "GOMODCACHE="+modules)
}

// TestPrerequisitesNameWhatIsMissing has all commands of the host but one.
func TestPrerequisitesNameWhatIsMissing(t *testing.T) {
	cmd := ordinary(t, ranges, `
		mkdir home/bin
		path=$PATH:/usr/sbin:/sbin
		IFS=:
		for dir in $path; do
			find -L "$dir" -maxdepth 1 -type f -exec ln -sf -t home/bin {} + 2>/dev/null || :
		done
		rm -f home/bin/newuidmap
		for sort in live kwok; do
			code=0
			LAB=$sort PATH=$PWD/home/bin mizzen/hack/prerequisites.sh || code=$?
			echo "$sort: exit code $code"
		done`)
	if cmd == nil {
		return
	}
	out, err := cmd.CombinedOutput()
	const want = "this machine lacks uidmap; run: sudo apt-get update && sudo apt-get install -y uidmap\nlive: exit code 2\nkwok: exit code 0\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, want\n%sgot\n%s", err, want, out)
	}
}
