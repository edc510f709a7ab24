package cri_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cri"
	"mizzen.dev/mizzen/lab/internal/cri/inside"
)

// What the test program is in a process, by the environment. It begins on the
// host, goes on as process 1 of a node's namespaces, whose children are the
// tests and the servers; containers run it as their tool.
const (
	role       = "LAB_CRI_TEST"
	mode       = "LAB_CRI_TEST_MODE"
	configRole = "LAB_CRI_TEST_CONFIG"
)

// The ways in which a node runs.
const (
	modeRoot   = "as root"
	modeRange  = "in a user namespace with a range of ids"
	modeSingle = "in a user namespace with one id"
)

// tool is the test program itself, where containers can have it.
const tool = "/tmp/tool"

func TestMain(m *testing.M) {
	inside.Become()
	var err error
	switch os.Getenv(role) {
	case "":
		os.Exit(host())
	case "mounts":
		err = inheritMount()
	case "init":
		err = node()
	case "tests":
		os.Exit(tests(m))
	case "cri":
		err = serve()
	case "echo":
		err = echo()
	case "dial":
		err = dial(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Getenv(role), err)
		os.Exit(1)
	}
}

// host runs the tests in each kind of node that this user can have.
func host() int {
	modes := []string{modeSingle}
	if os.Getuid() == 0 {
		modes = []string{modeRoot, modeRange}
	}
	for _, m := range modes {
		cmd := startNode(m)
		if m == modeRange {
			cmd = again("mounts", unix.CLONE_NEWNS)
		}
		if err := cmd.Run(); err != nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				fmt.Fprintf(os.Stderr, "these tests need namespaces; a node %s does not start: %v\n", m, err)
			}
			fmt.Println("FAIL", m)
			return 1
		}
	}
	return 0
}

// again returns this program in another role and new namespaces.
func again(as string, namespaces uintptr) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	for _, a := range os.Args[1:] {
		// The node does not see the files that these name.
		if !strings.HasPrefix(a, "-test.testlogfile") && !strings.HasPrefix(a, "-test.coverprofile") {
			cmd.Args = append(cmd.Args, a)
		}
	}
	cmd.Env = append(os.Environ(), role+"="+as)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: namespaces}
	return cmd
}

// inherited is a directory with a mount that a node in a user namespace
// inherits, and may not remove.
const inherited = "/var/opt"

// inheritMount runs the node that inherits it.
func inheritMount() error {
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", inherited, "tmpfs", 0, "mode=0755"),
		os.WriteFile(inherited+"/file", []byte("inherited"), 0o644),
	)
	if err != nil {
		return err
	}
	return startNode(modeRange).Run()
}

// hidden is a directory of the node that containers do not see.
const hidden = "/usr/local"

// startNode returns process 1 of a node.
func startNode(m string) *exec.Cmd {
	cmd := again("init", unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID|unix.CLONE_NEWIPC|unix.CLONE_NEWUTS)
	cmd.Env = append(cmd.Env, mode+"="+m)
	if m == modeRoot {
		return cmd
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	ids := func(id int) []syscall.SysProcIDMap {
		if m == modeSingle {
			return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
		}
		// As an ordinary user's: the host's root has no id in it.
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	}
	cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = ids(os.Getuid()), ids(os.Getgid())
	if m == modeRange {
		cmd.SysProcAttr.GidMappingsEnableSetgroups = true
		cmd.SysProcAttr.Credential = &syscall.Credential{} // the namespace's root
	}
	return cmd
}

// node is process 1 of a node: it makes what lab-cri is promised, and ends
// with the tests.
func node() error {
	if err := furnishNode(); err != nil {
		return fmt.Errorf("node %s: %w", os.Getenv(mode), err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), role+"=tests")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if pid == cmd.Process.Pid {
			os.Exit(ws.ExitStatus())
		}
	}
}

// furnishNode makes everything read-only but /tmp and /run, and two bridges.
func furnishNode() error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	err = errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777"),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"),
		os.WriteFile(tool, self, 0o755),
	)
	if err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetUp(lo), bridge("lab0", "10.244.0.1/16"), bridge("lab1", "10.245.0.1/16"))
}

func bridge(name, address string) error {
	a := netlink.NewLinkAttrs()
	a.Name = name
	b := &netlink.Bridge{LinkAttrs: a}
	if err := netlink.LinkAdd(b); err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(b, addr), netlink.LinkSetUp(b))
}

// images is the user's table of the tests.
const images = `
test/tool:v1: {entrypoint: [/usr/local/bin/tool], files: {/usr/local/bin/tool: ` + tool + `, /var/lib/tool/etc/tool.json: /tmp/tool.json}}
test/user:v1: {entrypoint: [/bin/sh], user: 1234, group: 4321, workingDir: /srv/work, env: [COLOR=red, SIZE=1], stopSignal: SIGUSR1}
test/gone:v1: {entrypoint: [/gone], files: {/gone: gone}, remedy: run ` + "`make gone`" + `}
`

func config(dir, bridge, network string) cri.Config {
	return cri.Config{
		Socket: dir + ".sock", Dir: dir, Bin: "/tmp/bin", Images: "/tmp/images.yaml", Hide: hidden, Bridge: bridge,
		Pods: netip.MustParsePrefix(network + ".0.0/16"), NodeAddress: netip.MustParseAddr(network + ".0.1"), StreamAddress: "127.0.0.1:0",
	}
}

func serve() error {
	var c cri.Config
	if err := json.Unmarshal([]byte(os.Getenv(configRole)), &c); err != nil {
		return err
	}
	return cri.Serve(context.Background(), c)
}

// echo answers each connection with the client's address.
func echo() error {
	l, err := net.Listen("tcp4", ":"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(conn, "hello %s", conn.RemoteAddr().(*net.TCPAddr).IP)
		_ = conn.Close()
	}
}

func dial(address string) error {
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, conn)
	return err
}
