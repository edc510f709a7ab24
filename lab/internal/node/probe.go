package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"

	"mizzen.dev/mizzen/lab/internal/process"
)

// Probes is what failed of what a node does; "" is what works.
type Probes struct {
	Mounts, Overlay, Cgroups, Bridge, Veth, Nft, Iptables string
}

// Probe tries what a node does, as process 1 of namespaces that end with it.
// It begins when gate has a byte: ids are mapped then.
func Probe(gate io.Reader, userNamespace bool) (Probes, error) {
	var p Probes
	if _, err := io.ReadFull(gate, make([]byte, 1)); err != nil {
		return p, err
	}
	if userNamespace {
		if err := process.BecomeRoot(); err != nil {
			return p, err
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return p, err
	}
	err = mountAll([]tree{{path: dir, writable: true}}, "probe")
	p.sort(err)
	p.Bridge = text(netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs("probe0")}))
	p.Veth = text(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs("probe1"), PeerName: "probe2"}))
	p.Nft = run("nft", "add table ip probe; add chain ip probe c { type nat hook output priority 0; }")
	p.Iptables = run("iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-j", "REDIRECT", "--to-ports", "15001")
	return p, nil
}

// sort says which probe the failure of a mount is that of.
func (p *Probes) sort(err error) {
	switch {
	case err == nil:
	case errors.Is(err, errOverlay):
		p.Overlay = err.Error()
	case errors.Is(err, errCgroups):
		p.Cgroups = err.Error()
	default:
		p.Mounts = err.Error()
	}
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

func run(name string, args ...string) string {
	cmd := exec.Command("/usr/bin/env", append([]string{name}, args...)...)
	cmd.Env = environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, strings.TrimSpace(string(out)))
	}
	return ""
}

func text(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}
