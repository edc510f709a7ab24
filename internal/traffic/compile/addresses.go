package compile

import (
	"net/netip"
	"slices"

	"istio.io/istio/pilot/pkg/model"
)

// addresses are those of Services and ServiceEntries by host, as a caller's
// resolver has them. A host without any, such as that of a headless Service, is
// not in it.
func (e *environment) addresses() map[string][]string {
	out := map[string][]string{}
	for _, s := range e.gen.Env().Services() {
		host := string(s.Hostname)
		for _, a := range append(s.ClusterVIPs.GetAddressesFor(clusterID), s.DefaultAddress) {
			if prefix, err := netip.ParsePrefix(a); err == nil {
				a = prefix.Addr().String() // any of them will do
			}
			ip, err := netip.ParseAddr(a)
			if err == nil && !ip.IsUnspecified() && !slices.Contains(out[host], a) {
				out[host] = append(out[host], a)
			}
		}
	}
	return out
}

// aliases are the names that ExternalName Services are for, by host. istiod has
// no cluster for them: it adds the host to those of the name, if the mesh knows
// that, and leaves it to DNS otherwise.
func (e *environment) aliases() map[string]string {
	out := map[string]string{}
	for _, s := range e.gen.Env().Services() {
		if s.Resolution == model.Alias {
			out[string(s.Hostname)] = s.Attributes.ExternalName
		}
	}
	return out
}
