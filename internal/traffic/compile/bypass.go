package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"istio.io/api/annotation"
	"istio.io/api/label"
	meshconfig "istio.io/api/mesh/v1alpha1"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// injectorOf returns the settings of who injects a workload's pods.
func (in *input) injectorOf(w *workload) inject.Settings {
	var own map[string]string
	if ns := in.namespaces[w.Namespace]; ns != nil {
		own = ns.Labels
	}
	by, ok := in.injectors.Find(w.Namespace, own, w.Labels)
	if !ok {
		by.Revision = own[inject.RevisionLabel]
		if by.Revision == "" && own["istio-injection"] == "" {
			by.Revision = w.Labels[label.IoIstioRev.Name]
		}
	}
	return in.installations.Of(by.Revision)
}

// bypassOf says what of a pod's connections never gets to its sidecar, as the
// injector's template writes it and istio-iptables carries it out: an annotation
// comes before the injector's value.
// https://github.com/istio/istio/blob/master/tools/istio-iptables/pkg/capture/run.go
func bypassOf(annotations map[string]string, mode meshconfig.ProxyConfig_InboundInterceptionMode, c inject.Capture) traffic.Bypass {
	if cmp.Or(annotations[annotation.SidecarInterceptionMode.Name], mode.String()) == meshconfig.ProxyConfig_NONE.String() {
		return traffic.Bypass{In: traffic.AllPorts, Out: traffic.AllPorts}
	}
	for name, value := range map[string]*string{
		annotation.SidecarTrafficIncludeInboundPorts.Name:     &c.IncludeInboundPorts,
		annotation.SidecarTrafficExcludeInboundPorts.Name:     &c.ExcludeInboundPorts,
		annotation.SidecarTrafficIncludeOutboundIPRanges.Name: &c.IncludeIPRanges,
		annotation.SidecarTrafficExcludeOutboundIPRanges.Name: &c.ExcludeIPRanges,
		annotation.SidecarTrafficIncludeOutboundPorts.Name:    &c.IncludeOutboundPorts,
		annotation.SidecarTrafficExcludeOutboundPorts.Name:    &c.ExcludeOutboundPorts,
	} {
		if own, said := annotations[name]; said {
			*value = own
		}
	}
	b := pastOutbound(c)
	b.In = pastInbound(c)
	return b
}

// pastInbound: where only some ports are taken, none is left out of them.
func pastInbound(c inject.Capture) traffic.Ports {
	if c.IncludeInboundPorts == "*" {
		return traffic.Ports{List: ports(c.ExcludeInboundPorts)}
	}
	return traffic.Ports{List: ports(c.IncludeInboundPorts), Except: true}
}

// pastOutbound: a port that is excluded is never taken, an address that is
// excluded neither; of the rest, what is of an included port or address is.
func pastOutbound(c inject.Capture) traffic.Bypass {
	excluded, taken := ports(c.ExcludeOutboundPorts), ports(c.IncludeOutboundPorts)
	b := traffic.Bypass{Out: traffic.Ports{List: excluded}, Past: prefixes(c.ExcludeIPRanges)}
	if c.IncludeIPRanges != "*" {
		b.Only, b.Taken.List = prefixes(c.IncludeIPRanges), taken
	}
	if b.Only = slices.Clip(b.Only); c.IncludeIPRanges != "*" && len(b.Only) == 0 {
		// No address is taken: all ports leave, but for those that are included.
		taken = slices.DeleteFunc(taken, func(p uint32) bool { return slices.Contains(excluded, p) })
		b.Out, b.Only, b.Taken = traffic.Ports{List: taken, Except: true}, nil, traffic.Ports{}
	}
	if slices.ContainsFunc(b.Past, func(p netip.Prefix) bool { return p.Bits() == 0 && p.Addr().Is4() }) {
		b.Out, b.Past, b.Only, b.Taken = traffic.AllPorts, nil, nil, traffic.Ports{}
	}
	return b
}

// ports reads a list of ports; what is none is left out.
func ports(list string) []uint32 {
	var out []uint32
	for _, item := range strings.Split(list, ",") {
		if p, err := strconv.ParseUint(strings.TrimSpace(item), 10, 16); err == nil && p > 0 {
			out = append(out, uint32(p))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// prefixes reads a list of networks; what is none is left out.
func prefixes(list string) []netip.Prefix {
	var out []netip.Prefix
	for _, item := range strings.Split(list, ",") {
		item = strings.TrimSpace(item)
		if p, err := netip.ParsePrefix(item); err == nil {
			out = append(out, p.Masked())
		} else if a, err := netip.ParseAddr(item); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}
