package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"mizzen.dev/mizzen/lab/internal/node"
	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

// wantInotify is how many inotify instances a mesh of a hundred sidecars has
// room for: each takes three, counted for each user of the host.
const wantInotify = 1024

// facts are what a live node depends on, as the machine has it.
type facts struct {
	// root says that no user namespace is needed; user is who asks.
	root bool
	user string
	// settings of the kernel by name, with "" for those that it lacks.
	settings map[string]string
	// programs that were found on the search path.
	programs map[string]bool
	// missing are programs of the node that are not in bin.
	bin     string
	missing []string
	// ranges is why there are no subordinate ids, or nil.
	ranges error
	// isolated is why no namespaces could be had, or nil. Without them there
	// are no probes.
	isolated error
	probes   node.Probes
	// joined says that clusters are to reach each other. tunnel is why they
	// cannot, or nil, and tunnelRemedy what mends it.
	joined       bool
	tunnel       error
	tunnelRemedy string
}

// verdict is what a fact means. A remedy says that something is lacking.
type verdict struct {
	name, found, remedy string
	// warning: the lab works, within limits.
	warning bool
}

func (v verdict) String() string {
	switch {
	case v.remedy == "":
		return fmt.Sprintf("ok    %s: %s", v.name, v.found)
	case v.warning:
		return fmt.Sprintf("warn  %s: %s; mend it: %s", v.name, v.found, v.remedy)
	}
	return fmt.Sprintf("FAIL  %s: %s; mend it: %s", v.name, v.found, v.remedy)
}

// examine says what the facts mean. What only fails because of an earlier
// failure is left out.
func examine(f facts) []verdict {
	verdicts := []verdict{f.programsOfNode()}
	if !f.root {
		verdicts = append(verdicts, f.subordinates())
	}
	verdicts = append(verdicts, f.namespaces())
	if f.isolated == nil {
		for _, p := range []struct {
			name, remedy string
			err          string
		}{
			{"mounts", otherContainer, f.probes.Mounts},
			{"overlayfs", "sudo modprobe overlay", f.probes.Overlay},
			{"bridge", "sudo modprobe bridge", f.probes.Bridge},
			{"veth", "sudo modprobe veth", f.probes.Veth},
			{"cgroups", "sudo mount -t cgroup2 none /sys/fs/cgroup", f.probes.Cgroups},
		} {
			verdicts = append(verdicts, tried(p.name, p.remedy, p.err))
		}
	}
	verdicts = append(verdicts, f.program("nft", "nftables", "sudo modprobe nf_tables", f.probes.Nft))
	verdicts = append(verdicts, f.program("iptables", "iptables", "sudo modprobe -a ip_tables iptable_nat nft_compat xt_REDIRECT", f.probes.Iptables))
	if f.joined {
		v := verdict{name: "tunnel", found: "works", remedy: f.tunnelRemedy}
		if f.tunnel != nil {
			v.found = f.tunnel.Error()
		}
		verdicts = append(verdicts, v)
	}
	return append(verdicts, f.inotify())
}

// otherContainer mends what is there, but not permitted.
const otherContainer = "run in a container with --privileged, or outside of one"

func tried(name, remedy, failure string) verdict {
	switch {
	case failure == "":
		return verdict{name: name, found: "works"}
	case strings.Contains(failure, "not permitted"), strings.Contains(failure, "ermission denied"):
		remedy = otherContainer
	}
	return verdict{name: name, found: failure, remedy: remedy}
}

func (f facts) programsOfNode() verdict {
	v := verdict{name: "programs", found: f.bin + " has those of a node"}
	if len(f.missing) > 0 {
		v.found, v.remedy = f.bin+" lacks "+strings.Join(f.missing, ", "), "make lab"
	}
	return v
}

func (f facts) subordinates() verdict {
	v := verdict{name: "subordinate ids", found: "newuidmap and a range for " + f.user}
	switch {
	case !f.programs["newuidmap"] || !f.programs["newgidmap"]:
		v.found, v.remedy = "newuidmap or newgidmap is missing", "sudo apt-get install -y uidmap"
	case f.ranges != nil:
		v.found = f.ranges.Error()
		v.remedy = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 " + f.user
	}
	return v
}

// namespaces names the setting that refuses them.
func (f facts) namespaces() verdict {
	v := verdict{name: "namespaces", found: "can be had"}
	if f.isolated == nil {
		return v
	}
	v.found = f.isolated.Error()
	for _, s := range []struct{ name, refuses, allows string }{
		{"kernel.unprivileged_userns_clone", "0", "1"},
		{"user.max_user_namespaces", "0", "15000"},
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"},
	} {
		if f.settings[s.name] == s.refuses && (!f.root || strings.HasPrefix(s.name, "user.")) {
			v.found = s.name + " is " + s.refuses
			v.remedy = "sudo sysctl -w " + s.name + "=" + s.allows
			return v
		}
	}
	v.remedy = otherContainer
	return v
}

func (f facts) program(name, pkg, module, failure string) verdict {
	if !f.programs[name] {
		return verdict{name: name, found: "is missing", remedy: "sudo apt-get install -y " + pkg}
	}
	return tried(name, module, failure)
}

func (f facts) inotify() verdict {
	const setting = "fs.inotify.max_user_instances"
	v := verdict{name: "inotify", found: f.settings[setting] + " instances"}
	n, err := strconv.Atoi(f.settings[setting])
	if err == nil && n < wantInotify {
		v.warning = true
		v.found = fmt.Sprintf("%d instances are enough for about %d sidecars", n, max(0, n-8)/3)
		v.remedy = fmt.Sprintf("sudo sysctl -w %s=%d", setting, wantInotify)
	}
	return v
}

// gather asks the machine. What can be tried is tried.
func gather(ctx context.Context, dir state.Dir, up upOptions) facts {
	f := facts{root: os.Geteuid() == 0, user: strconv.Itoa(os.Geteuid()), bin: up.bin, joined: up.joined, settings: map[string]string{}, programs: map[string]bool{}}
	if u, err := user.Current(); err == nil {
		f.user = u.Username
	}
	for _, name := range []string{
		"kernel.unprivileged_userns_clone", "user.max_user_namespaces",
		"kernel.apparmor_restrict_unprivileged_userns", "fs.inotify.max_user_instances",
	} {
		if data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err == nil {
			f.settings[name] = strings.TrimSpace(string(data))
		}
	}
	for _, name := range []string{"newuidmap", "newgidmap", "nft", "iptables"} {
		f.programs[name] = onPath(name)
	}
	for _, name := range []string{"lab-cri", "kubelet", "kube-proxy", "coredns"} {
		if info, err := os.Stat(filepath.Join(up.bin, name)); err != nil || info.Mode()&0o111 == 0 {
			f.missing = append(f.missing, name)
		}
	}
	if !f.root {
		for _, file := range []string{process.SubordinateUsers, process.SubordinateGroups} {
			if _, _, err := process.Subordinate(file); err != nil {
				f.ranges = err
			}
		}
	}
	f.tunnelRemedy, f.tunnel = node.Tunnel()
	f.probes, f.isolated = probe(ctx, dir)
	return f
}

// onPath looks where the node will.
func onPath(name string) bool {
	for _, dir := range filepath.SplitList(node.SearchPath()) {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// requireLive fails with the first thing that the machine lacks for a live
// node, and warns of its limits.
func requireLive(ctx context.Context, w io.Writer, dir state.Dir, up upOptions) error {
	for _, v := range examine(gather(ctx, dir, up)) {
		switch {
		case v.remedy == "":
		case v.warning:
			fmt.Fprintln(w, "lab:", v)
		default:
			return fmt.Errorf("this machine cannot run a live node: %s: %s; mend it: %s", v.name, v.found, v.remedy)
		}
	}
	return nil
}
