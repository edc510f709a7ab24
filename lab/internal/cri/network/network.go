// Package network gives pods their network: a namespace, a pair of interfaces
// of which one is a port of the node's bridge, and an address. In go the
// bridge and the range of addresses; out come Pods.
//
// A pod's address is a /32 with a route to the bridge and everything else
// behind it. Traffic between pods is thereby routed by the node, so that the
// answers to a connection through a Service pass kube-proxy's rules again.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vethPrefix begins the names of the node's ends of pods' interfaces.
const vethPrefix = "veth"

// Network is the pods' network of one node.
type Network struct {
	bridge netlink.Link
	node   netip.Addr
	free   *Range
}

// Open returns the network of pods behind an existing bridge, which has the
// node's address. Pods that an earlier runtime left there are disconnected.
func Open(bridge string, pods netip.Prefix, node netip.Addr) (*Network, error) {
	free, err := NewRange(pods, node)
	if err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(bridge)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", bridge, err)
	}
	// The node routes, and tells no pod a shortcut past kube-proxy.
	for _, s := range []struct{ name, value string }{
		{"ip_forward", "1"},
		{"conf/all/send_redirects", "0"},
		{"conf/" + bridge + "/send_redirects", "0"},
	} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+s.name, []byte(s.value), 0o644); err != nil {
			return nil, fmt.Errorf("set up routing: %w", err)
		}
	}
	n := &Network{bridge: link, node: node, free: free}
	return n, n.clean()
}

// clean removes the interfaces of pods that nobody knows any more.
func (n *Network) clean() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, l := range links {
		if l.Attrs().MasterIndex != n.bridge.Attrs().Index || !strings.HasPrefix(l.Attrs().Name, vethPrefix) {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !gone(err) {
			return fmt.Errorf("remove interface %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

// gone reports whether an interface has vanished with its pod's namespace.
func gone(err error) bool {
	var none netlink.LinkNotFoundError
	return errors.As(err, &none) || errors.Is(err, unix.ENODEV)
}

// Namespaces are those that the containers of a pod share. They live as long
// as their descriptors or a process in them.
type Namespaces struct {
	// Net is nil for a pod in the node's network.
	Net *os.File
	IPC *os.File
}

// NewNamespaces returns new namespaces, without a network if net is false.
func NewNamespaces(net bool) (*Namespaces, error) {
	kinds := unix.CLONE_NEWIPC
	if net {
		kinds |= unix.CLONE_NEWNET
	}
	ns := &Namespaces{}
	err := OnThread(func() (err error) {
		if err = unix.Unshare(kinds); err != nil {
			return err
		}
		// Not /proc/thread-self, which an older mount of /proc may lack.
		dir := fmt.Sprintf("/proc/self/task/%d/ns/", unix.Gettid())
		if ns.IPC, err = os.Open(dir + "ipc"); err == nil && net {
			ns.Net, err = os.Open(dir + "net")
		}
		return err
	})
	if err != nil {
		ns.Close()
		return nil, fmt.Errorf("create namespaces: %w", err)
	}
	return ns, nil
}

// Close lets the namespaces go.
func (ns *Namespaces) Close() {
	for _, f := range []*os.File{ns.Net, ns.IPC} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Do runs f in the network namespace, or in the node's if there is none.
func (ns *Namespaces) Do(f func() error) error {
	if ns.Net == nil {
		return f()
	}
	return OnThread(func() error {
		if err := unix.Setns(int(ns.Net.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the pod's network: %w", err)
		}
		return f()
	})
}

// OnThread runs f on a thread of its own that ends with f, which may change
// the thread's namespaces.
func OnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// Pod is a pod's place in the network.
type Pod struct {
	// Address is the pod's.
	Address netip.Addr

	network *Network
	veth    string
}

// Connect connects a namespace to the network. id is the pod's, at least 8
// hexadecimal digits.
func (n *Network) Connect(ns *Namespaces, id string) (*Pod, error) {
	address, err := n.free.Take()
	if err != nil {
		return nil, err
	}
	p := &Pod{Address: address, network: n, veth: vethPrefix + id[:8]}
	if err := p.plug(ns); err != nil {
		return nil, errors.Join(fmt.Errorf("connect pod: %w", err), p.Disconnect())
	}
	return p, nil
}

// Disconnect removes the pod's interfaces and gives its address back. It may
// be called more than once for no Pod but by one caller at a time.
func (p *Pod) Disconnect() error {
	link, err := netlink.LinkByName(p.veth)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("disconnect pod: %w", err)
	}
	p.network.free.Give(p.Address)
	return nil
}

// plug makes the pair of interfaces and brings them up.
func (p *Pod) plug(ns *Namespaces) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name, attributes.MasterIndex = p.veth, p.network.bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns.Net.Fd()))}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add interface: %w", err)
	}
	// A pod may reach itself through a Service.
	if err := netlink.LinkSetHairpin(veth, true); err != nil {
		return fmt.Errorf("set up interface: %w", err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return fmt.Errorf("set up interface: %w", err)
	}
	return ns.Do(p.configure)
}

// configure runs in the pod's namespace.
func (p *Pod) configure() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	if err := errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(eth0)); err != nil {
		return fmt.Errorf("set up interface: %w", err)
	}
	if err := netlink.AddrAdd(eth0, &netlink.Addr{IPNet: host(p.Address)}); err != nil {
		return fmt.Errorf("set address: %w", err)
	}
	node := host(p.network.node)
	index := eth0.Attrs().Index
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: node}); err != nil {
		return fmt.Errorf("set route to the node: %w", err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: index, Gw: node.IP}); err != nil {
		return fmt.Errorf("set default route: %w", err)
	}
	return nil
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}
}
