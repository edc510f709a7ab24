package trace

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// unknownAddress stands for what DNS outside of the mesh would answer; it is
// reserved for documentation (RFC 5737), so that no listener is for it.
const unknownAddress = "192.0.2.1"

// clusterDomain is where the names of Services end.
const clusterDomain = "svc.cluster.local"

// resolved is what a name means to a caller.
type resolved struct {
	// host is the full name; the name itself if the mesh does not know it.
	host string
	// known: a Service or ServiceEntry has this host.
	known bool
	// address is where the caller's connection goes.
	address string
	// alias is what the host stands for, if it is that of an ExternalName Service.
	alias string
}

// resolve does what a pod's resolver does: a name with fewer than five dots is
// tried in the caller's namespace, among all Services, in the cluster's domain,
// and then as it is (resolv.conf with ndots:5, as Kubernetes writes it). An
// absolute name is only taken as it is.
func (t *tracer) resolve(namespace string, view *traffic.View) (resolved, error) {
	name, port := t.request.host, t.request.port
	if ip := net.ParseIP(name); ip != nil {
		return resolved{host: name, address: ip.String()}, nil
	}
	candidates := []string{name}
	if !t.request.absolute && strings.Count(name, ".") < 5 {
		candidates = []string{name + "." + namespace + "." + clusterDomain, name + "." + clusterDomain, name + ".cluster.local", name}
	}
	for _, host := range candidates {
		if _, known := t.mesh.Hosts[host]; known {
			alias := t.mesh.Aliases[host]
			return resolved{host, true, t.serviceAddress(view, cmp.Or(alias, host), port), alias}, nil
		}
	}
	if err := t.noSuchHost(candidates); err != nil {
		return resolved{}, err
	}
	return resolved{host: name, address: unknownAddress}, nil
}

// noSuchHost is the error of a name that nobody can resolve: it has no dot, or
// ends as the cluster's names do. Other names may exist outside of the mesh.
func (t *tracer) noSuchHost(candidates []string) error {
	name := t.request.host
	if strings.Contains(name, ".") && !strings.HasSuffix(name, ".cluster.local") && !strings.HasSuffix(name, ".svc") && !t.inNamespace(name) {
		return nil
	}
	if t.request.absolute {
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: "host " + name + ".", Err: errors.New("no Service or ServiceEntry has it, and its dot makes the name absolute"),
			Remedy: "write it in full, or without the dot",
		}
	}
	var among []string
	for host := range t.mesh.Hosts {
		short, rest, _ := strings.Cut(host, ".")
		namespace, _, _ := strings.Cut(rest, ".")
		switch strings.Count(name, ".") {
		case 0:
			among = append(among, short)
		case 1:
			among = append(among, short+"."+namespace)
		default:
			among = append(among, host)
		}
	}
	slices.Sort(among)
	return &mizzen.Error{
		Kind: mizzen.NotFound, Object: "host " + name,
		Err:    fmt.Errorf("no Service or ServiceEntry has it: tried %s", strings.Join(candidates, ", ")),
		Remedy: suggest(name, among, "name the host of a Service or ServiceEntry"),
	}
}

// inNamespace tells whether a name reads as a Service with its namespace.
func (t *tracer) inNamespace(name string) bool {
	_, namespace, found := strings.Cut(name, ".")
	return found && slices.ContainsFunc(t.mesh.Workloads, func(w *traffic.Workload) bool { return w.Namespace == namespace })
}

// serviceAddress is the address that DNS has for a host. One without an address
// of its own is reached at those of its pods: where the caller's proxy has a
// listener for them, the first is taken, else an address like any other.
func (t *tracer) serviceAddress(view *traffic.View, host string, port uint32) string {
	if own := t.mesh.Addresses[host]; len(own) > 0 {
		return own[0]
	}
	if view == nil {
		return unknownAddress
	}
	for _, l := range view.Outbound {
		at := l.GetAddress().GetSocketAddress()
		if at.GetPortValue() == port && at.GetAddress() != "0.0.0.0" && at.GetAddress() != "::" && leadsTo(l, host) {
			return at.GetAddress()
		}
	}
	return unknownAddress
}

// leadsTo tells whether a listener sends connections to a host.
func leadsTo(l *listenerv3.Listener, host string) bool {
	port := l.GetAddress().GetSocketAddress().GetPortValue()
	for _, chain := range append(slices.Clip(l.GetFilterChains()), l.GetDefaultFilterChain()) {
		s, err := match.Open(chain)
		if err != nil {
			continue
		}
		if s.HTTP != nil && s.HTTP.GetRds().GetRouteConfigName() == fmt.Sprintf("%s:%d", host, port) {
			return true
		}
		for _, d := range s.TCP {
			if to, ok := targetOf(d.Cluster); ok && to.host == host {
				return true
			}
		}
	}
	return false
}

// list writes ports in words.
func list(ports []uint32) string {
	var names []string
	for _, p := range ports {
		names = append(names, strconv.FormatUint(uint64(p), 10))
	}
	return strings.Join(names, ", ")
}
