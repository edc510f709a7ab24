package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"

	"mizzen.dev/mizzen/lab/internal/relay"
)

const (
	// bridge connects the pods, and has the node's address.
	bridge = "lab0"
	// hostName is the host's name inside.
	hostName = "host.lab.internal"
)

// connect makes the node's end of the pod network. There is no way out.
func connect(pods netip.Prefix) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridge
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	own := &net.IPNet{IP: Address(pods).AsSlice(), Mask: net.CIDRMask(pods.Bits(), 32)}
	if err := netlink.AddrAdd(br, &netlink.Addr{IPNet: own}); err != nil {
		return fmt.Errorf("address of the node: %w", err)
	}
	if err := netlink.LinkSetUp(br); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	// kube-proxy and client-go look for a default route. It leads nowhere.
	everything := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: br.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: everything}); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	return nil
}

// openRelays serves the way in, and the ways out that the host may allow.
func (n *node) openRelays() error {
	dir, err := os.Open(".")
	if err != nil {
		return err
	}
	in, err := relay.Listen(dir, relay.InSocket)
	if err != nil {
		return err
	}
	go relay.Serve(in, dialer(Address(n.Pods)))
	for name, port := range relay.Ways {
		out, err := net.Listen("tcp4", net.JoinHostPort(Address(n.Pods).String(), strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("way out to %s: %w", name, err)
		}
		go relay.Forward(out, name, relay.Through(dir, relay.OutSocket))
	}
	return nil
}

// dialer dials addresses inside. Names are asked of the cluster's DNS, at dns.
func dialer(dns netip.Addr) relay.Dial {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(dns.String(), "53"))
	}}
	plain := &net.Dialer{Timeout: 5 * time.Second}
	return func(ctx context.Context, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		if _, err := netip.ParseAddr(host); err == nil {
			return plain.DialContext(ctx, "tcp4", address)
		}
		// The last dot keeps the host's search domains away.
		found, err := resolver.LookupNetIP(ctx, "ip4", host+".")
		if err != nil {
			return nil, fmt.Errorf("relay: %w", err)
		}
		var errs []error
		for _, ip := range found {
			conn, err := plain.DialContext(ctx, "tcp4", net.JoinHostPort(ip.Unmap().String(), port))
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, fmt.Errorf("relay: %w", errors.Join(errs...))
	}
}
