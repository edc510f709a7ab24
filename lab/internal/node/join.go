package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link connects the node with that of another cluster.
type Link struct {
	// Pods is the other cluster's range, its node included.
	Pods netip.Prefix
	// Socket carries one packet in each datagram.
	Socket *os.File
}

// longest is the size of the longest packet of IPv4.
const longest = 1 << 16

// join makes an interface for each link and routes the other cluster's range
// there. Packets go through a socket, since nobody but root may put the ends
// of one pair of interfaces into two user namespaces.
func join(links []Link, own netip.Addr) error {
	for i, l := range links {
		name := fmt.Sprintf("join%d", i)
		tun, err := openTunnel(name)
		if err != nil {
			return fmt.Errorf("join %s: %w", l.Pods, err)
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("join %s: %w", l.Pods, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("join %s: %w", l.Pods, err)
		}
		err = netlink.RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Src: own.AsSlice(),
			Dst: &net.IPNet{IP: l.Pods.Addr().AsSlice(), Mask: net.CIDRMask(l.Pods.Bits(), 32)},
		})
		if err != nil {
			return fmt.Errorf("route to %s: %w", l.Pods, err)
		}
		socket := int(l.Socket.Fd())
		go carry(socket, tun)
		go carry(tun, socket)
	}
	return nil
}

// tunnelDevice makes interfaces whose packets a process has.
const tunnelDevice = "/dev/net/tun"

// Tunnel reports why clusters of this machine cannot be joined, and the command
// that mends it; nil and "" if they can.
func Tunnel() (remedy string, err error) {
	tun, err := unix.Open(tunnelDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		return "", unix.Close(tun)
	case errors.Is(err, unix.EACCES):
		remedy = "sudo chmod 0666 " + tunnelDevice
	default:
		remedy = "sudo modprobe tun"
	}
	return remedy, fmt.Errorf("%s: %w", tunnelDevice, err)
}

func openTunnel(name string) (int, error) {
	tun, err := unix.Open(tunnelDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("%s: %w; see `lab doctor --live --joined`", tunnelDevice, err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, request); err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	return tun, nil
}

// carry copies packets for as long as the node lives. One that cannot be
// delivered is lost, as packets are.
func carry(to, from int) {
	packet := make([]byte, longest)
	for {
		n, err := unix.Read(from, packet)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if n > 0 {
			_, _ = unix.Write(to, packet[:n])
		}
	}
}
