package cli

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mizzen.dev/mizzen/lab/internal/node"
)

// healthy are the facts of a machine that lacks nothing.
func healthy() facts {
	return facts{
		user: "ann", bin: "/bin", settings: map[string]string{"fs.inotify.max_user_instances": "1024"},
		programs: map[string]bool{"newuidmap": true, "newgidmap": true, "nft": true, "iptables": true},
	}
}

func TestExamineNamesTheCommandThatMends(t *testing.T) {
	for _, c := range []struct {
		what    string
		spoil   func(*facts)
		want    string
		warning bool
	}{
		{"nothing", func(*facts) {}, "", false},
		{"program", func(f *facts) { f.missing = []string{"kubelet"} }, "make lab", false},
		{"uidmap", func(f *facts) { f.programs["newgidmap"] = false }, "sudo apt-get install -y uidmap", false},
		{"ranges", func(f *facts) { f.ranges = errors.New("none") }, "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann", false},
		{"ranges of root", func(f *facts) { f.root, f.ranges = true, errors.New("none") }, "", false},
		{"Debian's switch", func(f *facts) {
			f.isolated = errors.New("refused")
			f.settings["kernel.unprivileged_userns_clone"] = "0"
		}, "sudo sysctl -w kernel.unprivileged_userns_clone=1", false},
		{"no user namespaces", func(f *facts) {
			f.isolated = errors.New("refused")
			f.settings["user.max_user_namespaces"] = "0"
		}, "sudo sysctl -w user.max_user_namespaces=15000", false},
		{"AppArmor", func(f *facts) {
			f.isolated = errors.New("refused")
			f.settings["kernel.apparmor_restrict_unprivileged_userns"] = "1"
		}, "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0", false},
		{"AppArmor, which lets root", func(f *facts) {
			f.root, f.isolated = true, errors.New("refused")
			f.settings["kernel.apparmor_restrict_unprivileged_userns"] = "1"
		}, "run in a container with --privileged, or outside of one", false},
		{"overlay", func(f *facts) { f.probes = node.Probes{Overlay: "no such device"} }, "sudo modprobe overlay", false},
		{"a container that may not", func(f *facts) { f.probes = node.Probes{Bridge: "operation not permitted"} }, otherContainer, false},
		{"bridge", func(f *facts) { f.probes = node.Probes{Bridge: "not supported"} }, "sudo modprobe bridge", false},
		{"veth", func(f *facts) { f.probes = node.Probes{Veth: "not supported"} }, "sudo modprobe veth", false},
		{"cgroups", func(f *facts) { f.probes = node.Probes{Cgroups: "busy"} }, "sudo mount -t cgroup2 none /sys/fs/cgroup", false},
		{"mounts", func(f *facts) { f.probes = node.Probes{Mounts: "not permitted"} }, "run in a container with --privileged, or outside of one", false},
		{"nft", func(f *facts) { f.programs["nft"] = false }, "sudo apt-get install -y nftables", false},
		{"iptables", func(f *facts) { f.programs["iptables"] = false }, "sudo apt-get install -y iptables", false},
		{"tunnel", func(f *facts) {
			f.joined, f.tunnel, f.tunnelRemedy = true, errors.New("permission denied"), "sudo chmod 0666 /dev/net/tun"
		}, "sudo chmod 0666 /dev/net/tun", false},
		{"tunnel, which nobody wants", func(f *facts) {
			f.tunnel, f.tunnelRemedy = errors.New("permission denied"), "sudo chmod 0666 /dev/net/tun"
		}, "", false},
		{"inotify", func(f *facts) { f.settings["fs.inotify.max_user_instances"] = "128" }, "sudo sysctl -w fs.inotify.max_user_instances=1024", true},
	} {
		f := healthy()
		c.spoil(&f)
		var lacking []verdict
		for _, v := range examine(f) {
			if v.remedy != "" {
				lacking = append(lacking, v)
			}
		}
		switch {
		case c.want == "" && len(lacking) > 0:
			t.Errorf("%s: %v", c.what, lacking)
		case c.want != "" && (len(lacking) != 1 || lacking[0].remedy != c.want || lacking[0].warning != c.warning):
			t.Errorf("%s: %v, want only %q", c.what, lacking, c.want)
		}
	}
}

func TestInotifyCountsSidecars(t *testing.T) {
	f := healthy()
	f.settings["fs.inotify.max_user_instances"] = "128"
	if v := f.inotify(); !strings.Contains(v.String(), "40 sidecars") {
		t.Error(v)
	}
}

func TestMemoryIsAskedForByKind(t *testing.T) {
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	if available, err := availableMemory(string(meminfo)); err != nil || available <= 0 {
		t.Errorf("of this machine: %d, %v", available, err)
	}
	const mib = 1 << 20
	for _, c := range []struct {
		available int64
		live, ok  bool
	}{
		{1000 * mib, false, false},
		{1100 * mib, false, true},
		{2000 * mib, true, false},
		{2600 * mib, true, true},
	} {
		if err := enoughMemory(c.available, c.live); (err == nil) != c.ok {
			t.Errorf("%d MiB, live %t: %v", c.available/mib, c.live, err)
		}
	}
	for _, bad := range []string{"", "MemFree: 12 kB\n", "MemAvailable: many kB\n"} {
		if n, err := availableMemory(bad); err == nil {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
}
