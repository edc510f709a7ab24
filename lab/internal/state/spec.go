package state

import (
	"fmt"
	"net/netip"
	"slices"
)

// Spec is what the user wants.
type Spec struct {
	// Generation grows with each change.
	Generation int64 `json:"generation"`
	// Clusters is how many clusters there are.
	Clusters int `json:"clusters"`
	// Nodes is how many kwok nodes each new cluster gets.
	Nodes int `json:"nodes"`
	// IdleSeconds, if positive, ends the lab when nobody has held a Lease for
	// so long.
	IdleSeconds int `json:"idleSeconds,omitempty"`
	// Resume starts clusters on the data of a former lab instead of anew.
	Resume bool `json:"resume,omitempty"`
	// Live says that each cluster has a node whose pods run.
	Live bool `json:"live,omitempty"`
	// PodCIDR and ServiceCIDR are the ranges of the first live cluster.
	PodCIDR     string `json:"podCIDR,omitempty"`
	ServiceCIDR string `json:"serviceCIDR,omitempty"`
	// Joined says that the clusters reach each other's pods and nodes.
	Joined bool `json:"joined,omitempty"`
	// Bin has the programs of a live node, and the files of images.
	Bin string `json:"bin,omitempty"`
	// Images is a further table of images of the user's.
	Images string `json:"images,omitempty"`
	// Exposed are addresses of the host that live clusters reach, by name.
	Exposed map[string]string `json:"exposed,omitempty"`
	// Stopped are the clusters that are down on purpose, to play an outage.
	Stopped []string `json:"stopped,omitempty"`
}

// Wants reports whether the named cluster should run.
func (s Spec) Wants(cluster string) bool { return !slices.Contains(s.Stopped, cluster) }

// Ranges returns the addresses of pods and Services of the live cluster with
// the number n, counted from 1: each gets the /16 after that of the one before.
func (s Spec) Ranges(n int) (pods, services netip.Prefix, err error) {
	if pods, err = sixteen(s.PodCIDR, n); err != nil {
		return pods, services, fmt.Errorf("range of pods: %w", err)
	}
	if services, err = sixteen(s.ServiceCIDR, n); err != nil {
		return pods, services, fmt.Errorf("range of Services: %w", err)
	}
	return pods, services, nil
}

func sixteen(cidr string, n int) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is4() || p.Bits() != 16 {
		return p, fmt.Errorf("%q: want a /16 of IPv4, such as 10.244.0.0/16", cidr)
	}
	// Addresses that the kernel does not route.
	if a := p.Masked().Addr(); a.IsLoopback() || a.IsLinkLocalUnicast() || a.As4()[0] == 0 || a.As4()[0] >= 224 {
		return p, fmt.Errorf("%s: addresses there are for no pod or Service: want such as 10.244.0.0/16", cidr)
	}
	a := p.Masked().Addr().As4()
	second := int(a[1]) + n - 1
	if second > 255 {
		return p, fmt.Errorf("%s has no %d ranges after it: choose a lower one", cidr, n-1)
	}
	a[1] = byte(second)
	return netip.PrefixFrom(netip.AddrFrom4(a), 16), nil
}

// CheckRanges reports what is wrong with the ranges of n live clusters.
func (s Spec) CheckRanges(n int) error {
	var all []netip.Prefix
	for i := range n {
		pods, services, err := s.Ranges(i + 1)
		if err != nil {
			return err
		}
		for _, p := range []netip.Prefix{pods, services} {
			for _, other := range all {
				if p.Overlaps(other) {
					return fmt.Errorf("%s would be used twice by %d clusters: choose ranges that are further apart", p, n)
				}
			}
			all = append(all, p)
		}
	}
	return nil
}

// ReadSpec returns the Spec, or a zero one if there is none.
func (d Dir) ReadSpec() (Spec, error) {
	var s Spec
	return s, d.read("spec.json", &s)
}

// ChangeSpec applies change to the Spec and returns the result. Concurrent
// changes happen one after the other.
func (d Dir) ChangeSpec(change func(*Spec) error) (Spec, error) {
	lock, err := d.lock("spec.lock", true)
	if err != nil {
		return Spec{}, err
	}
	defer lock.Close()
	s, err := d.ReadSpec()
	if err != nil {
		return Spec{}, err
	}
	if err := change(&s); err != nil {
		return Spec{}, err
	}
	s.Generation++
	return s, d.write("spec.json", s)
}
