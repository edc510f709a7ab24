package cri_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestRootIsPrivate(t *testing.T) {
	p := runPod(t, shared)
	out := p.output("root", `
		set -e
		echo pid $$; hostname; cat /etc/hostname /etc/resolv.conf
		echo hello > /etc/new; rm /etc/passwd; mkdir -p /opt/a/b /var/x; touch /usr/y /tmp/z
		echo x > /dev/null; head -c 1 /dev/urandom > /dev/shm/r; ls -d /dev/pts/ptmx
		cat /etc/new; ls /run
		! echo 1 > /proc/sys/vm/swappiness
		! touch /sys/kernel/x
		cat /proc/kcore | wc -c
		grep -c . /proc/1/cgroup > /dev/null || true
		set -- /proc/[0-9]*; echo $#
		pwd; umask`)
	want := "pid 1\npod\npod\nnameserver 10.0.0.10\nsearch svc.cluster.local\noptions ndots:5\n/dev/pts/ptmx\nhello\n0\n1\n/\n0022\n"
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	for _, file := range []string{"/etc/new", "/usr/y", "/opt/a", "/var/x"} {
		if _, err := os.Stat(file); err == nil {
			t.Errorf("the container has written %s of the node", file)
		}
	}
	if _, err := os.Stat("/etc/passwd"); err != nil {
		t.Error(err)
	}
}

func TestVolumes(t *testing.T) {
	p := runPod(t, shared)
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("data/a", "A")
	write("inner/b", "B")
	token, hosts := write("token", "T"), write("hosts", "H")
	out := p.output("volumes", `
		set -e
		cd /data; cat a inner/b; echo C > c; cat /var/run/secrets/tokens/token /run/secrets/tokens/token /etc/hosts
		cat /var/lib/some/where/token
		! echo x > inner/b; ! echo x > /var/run/secrets/tokens/token; ! echo x > /var/lib/some/where/token
		cat /top/level/a
		ls -d /made
		test "$(stat -c %a /var/tmp)" = 1777; touch /var/tmp/beside`,
		// The deeper comes first here; it must not be hidden.
		volume(dir+"/inner", "/data/inner", true), volume(dir+"/data", "/data", false), volume(token, "/var/run/secrets/tokens/token", true),
		volume(hosts, "/etc/hosts", false), volume(token, "/var/lib/some/where/token", true), volume(dir+"/data", "/top/level", true),
		volume(dir+"/inner", "/var/tmp/mounted", true), volume(dir+"/made-by-runtime", "/made", false))
	if got, want := out, "ABTTHTA/made\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := string(must[[]byte](t)(os.ReadFile(dir + "/data/c"))); got != "C\n" {
		t.Errorf("the volume has %q", got)
	}
	if _, err := os.Stat(dir + "/made-by-runtime"); err != nil {
		t.Error(err)
	}
}

func TestRecursiveReadOnly(t *testing.T) {
	p := runPod(t, shared)
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	// lab-cri has the node's mounts: this one comes after its start, and the
	// containers see it.
	if err := unix.Mount("tmpfs", dir+"/sub", "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir+"/sub", 0) })
	p.output("plain", "! touch /data/x 2>&1 && touch /data/sub/x", volume(dir, "/data", true))
	p.output("recursive", "! touch /data/x 2>&1 && ! touch /data/sub/x", volume(dir, "/data", true),
		func(c *runtimeapi.ContainerConfig) { c.Mounts[0].RecursiveReadOnly = true })
}

func TestReadOnlyRoot(t *testing.T) {
	p := runPod(t, shared)
	dir := t.TempDir()
	p.output("read-only", `
		for d in / /etc /usr /var /tmp /run /root; do ! touch $d/x || exit 1; done
		set -e; touch /data/x; touch /dev/shm/x; echo > /dev/null; pwd | grep -q /new/dir`,
		volume(dir, "/data", false), security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true }),
		func(c *runtimeapi.ContainerConfig) { c.WorkingDir = "/new/dir" })
	// What lies upon a directory that would be read-only is not.
	p.output("beside", "! touch /run/x && touch /tmp/y", volume(dir, "/tmp", false),
		security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.ReadonlyRootfs = true }))
}

func TestImageConfiguration(t *testing.T) {
	p := runPod(t, shared)
	env := func(c *runtimeapi.ContainerConfig) {
		c.Envs = []*runtimeapi.KeyValue{{Key: "COLOR", Value: []byte("green")}, {Key: "X", Value: []byte("a=b c")}}
	}
	out := p.output("image", `echo $COLOR $SIZE "$X" $HOSTNAME $HOME; pwd`, image("test/user:v1"), asRoot, env)
	if want := "green 1 a=b c pod /root\n/srv/work\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	out = p.output("files", "test -x /usr/local/bin/tool && cat /var/lib/tool/etc/tool.json && ! echo > /usr/local/bin/tool",
		image("test/tool:v1"), func(c *runtimeapi.ContainerConfig) { c.Command = []string{"sh"} })
	if out != "{}" {
		t.Errorf("got %q", out)
	}
	out = p.output("command", "", func(c *runtimeapi.ContainerConfig) { c.Command, c.Args = []string{"echo"}, []string{"$HOME", "b"} })
	if out != "$HOME b\n" {
		t.Errorf("got %q", out)
	}
}

func TestIdentity(t *testing.T) {
	p := runPod(t, shared)
	as := func(uid, gid int64, groups ...int64) change {
		return security(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.RunAsUser, s.RunAsGroup, s.SupplementalGroups = &runtimeapi.Int64Value{Value: uid}, &runtimeapi.Int64Value{Value: gid}, groups
		})
	}
	if os.Getenv(mode) == modeSingle {
		err := p.create("other", "true", as(1000, 0)).start()
		if err == nil || !strings.Contains(message(err), "run as user 1000") || !strings.Contains(message(err), "/etc/subuid") {
			t.Errorf("error: %v", err)
		}
		if out := p.output("root", "id -u"); out != "0\n" {
			t.Errorf("root is %s", out)
		}
		return
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 0, 3000); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o2770); err != nil {
		t.Fatal(err)
	}
	const who = "echo $(id -u) $(id -g) $(id -G); echo x > /dev/stdout; echo x > /dev/stderr; grep Cap /proc/self/status | grep -vc 0000000000000000;"
	for _, c := range []struct {
		name, want string
		script     string
		changes    []change
	}{
		{"root", "0 0 0\n", "echo $(id -u) $(id -g) $(id -G)", nil},
		{"image", "1234 4321 4321\n", "echo $(id -u) $(id -g) $(id -G)", []change{image("test/user:v1")}},
		{"other-user", "1000 0 0\n", "echo $(id -u) $(id -g) $(id -G)", []change{image("test/user:v1"), security(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
		})}},
		// The bounding set is the only one that is not empty.
		{"groups", "1000 2000 2000 3000 4000\nx\n1\nok\n", who + "touch /data/x && ! touch /etc/x && echo ok", []change{as(1000, 2000, 3000, 4000), volume(dir, "/data", false)}},
	} {
		ctr := p.run(c.name, c.script, c.changes...)
		s := ctr.wait()
		if got := ctr.text("stdout"); got != c.want {
			t.Errorf("%s: got %q, want %q (%s)", c.name, got, c.want, ctr.text("stderr"))
		}
		if c.name == "groups" {
			want := &runtimeapi.LinuxContainerUser{Uid: 1000, Gid: 2000, SupplementalGroups: []int64{3000, 4000}}
			if s.User.Linux.String() != want.String() {
				t.Errorf("status: %v", s.User)
			}
		}
	}
	// exec is the same user.
	ctr := p.run("exec", "echo ready; sleep 1000", as(1000, 2000, 3000)).ready("ready")
	r := must[*runtimeapi.ExecSyncResponse](t)(ctr.exec(10, "sh", "-c", who))
	if got := string(r.Stdout); got != "1000 2000 2000 3000\nx\n1\n" {
		t.Errorf("exec: %q", got)
	}
}

func TestCapabilities(t *testing.T) {
	p := runPod(t, shared)
	caps := func(c *runtimeapi.Capability) change {
		return security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.Capabilities = c })
	}
	const show = "grep -E 'Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs' /proc/self/status | sed 's/.*\t//;s/^0*\\(.\\)/\\1/' | tr '\\n' ' '"
	root := func(mask string) string { return mask + " " + mask + " " + mask + " 0 0 " }
	for _, c := range []struct {
		name, want string
		changes    []change
	}{
		{"usual", root("a00425fb"), nil},
		{"istio-init", root("3000"), []change{caps(&runtimeapi.Capability{AddCapabilities: []string{"NET_ADMIN", "NET_RAW"}, DropCapabilities: []string{"ALL"}})}},
		{"none", "0 0 0 0 0 ", []change{caps(&runtimeapi.Capability{DropCapabilities: []string{"all"}})}},
		{"one-less", root("a00425fa"), []change{caps(&runtimeapi.Capability{DropCapabilities: []string{"CAP_CHOWN"}})}},
		{"no-new", "a00425fb a00425fb a00425fb 0 1 ", []change{security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.NoNewPrivs = true })}},
	} {
		if got := p.output(c.name, show, c.changes...); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if os.Getenv(mode) == modeSingle {
		return
	}
	user := security(func(s *runtimeapi.LinuxContainerSecurityContext) { s.RunAsUser = &runtimeapi.Int64Value{Value: 1000} })
	if got := p.output("ambient", show, user, caps(&runtimeapi.Capability{AddAmbientCapabilities: []string{"NET_ADMIN"}, DropCapabilities: []string{"ALL"}})); got != "1000 1000 1000 1000 0 " {
		t.Errorf("ambient: %q", got)
	}
}

// Where the node cannot put an overlay on a directory, because of mounts below
// it that its namespace inherited, the container composes it.
func TestDirectoryWithInheritedMounts(t *testing.T) {
	if os.Getenv(mode) != modeRange {
		return // only the host's root can arrange it
	}
	p := runPod(t, shared)
	dir := t.TempDir()
	out := p.output("nested", `set -e
		cat `+inherited+`/file
		! touch `+inherited+`/new
		cat `+filepath.Dir(inherited)+`/volume/x
		touch /usr/new`, volume(dir, filepath.Dir(inherited)+"/volume", false), func(*runtimeapi.ContainerConfig) {
		if err := os.WriteFile(dir+"/x", []byte("V"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	if out != "inheritedV" {
		t.Errorf("got %q", out)
	}
}
