package match

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	inputsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// maxMatcherDepth bounds how deep matchers may be nested.
const maxMatcherDepth = 32

// chainByMatcher chooses a filter chain by a matcher tree, which is how istiod
// writes the listeners of waypoints and of gateways between networks.
func chainByMatcher(l *listenerv3.Listener, c Connection) (*listenerv3.FilterChain, string) {
	w := &walk{c: c}
	name, ok := w.matcher(l.GetFilterChainMatcher(), 0)
	because := strings.Join(w.path, ", ")
	if because == "" {
		because = "the matcher asks for nothing"
	}
	if !ok {
		return fallback(l, because+", no chain")
	}
	for _, chain := range l.GetFilterChains() {
		if chain.GetName() == name {
			return chain, because
		}
	}
	return fallback(l, fmt.Sprintf("%s, chain %s that there is not", because, name))
}

// walk follows a matcher tree for one connection.
type walk struct {
	c Connection
	// path is what the connection was asked for, in words.
	path []string
}

// matcher returns the name of the chain that a matcher leads to. A branch that
// leads nowhere counts as not taken.
func (w *walk) matcher(m *xdsv3.Matcher, depth int) (chain string, ok bool) {
	if m == nil || depth > maxMatcherDepth {
		return "", false
	}
	if tree := m.GetMatcherTree(); tree != nil {
		if chain, ok = w.tree(tree, depth); ok {
			return chain, true
		}
	} else {
		w.path = append(w.path, "a list of predicates that is not understood")
	}
	return w.onMatch(m.GetOnNoMatch(), depth)
}

func (w *walk) onMatch(o *xdsv3.Matcher_OnMatch, depth int) (string, bool) {
	if o.GetMatcher() != nil {
		return w.matcher(o.GetMatcher(), depth+1)
	}
	name := &wrapperspb.StringValue{}
	if a := o.GetAction().GetTypedConfig(); a == nil || a.UnmarshalTo(name) != nil {
		return "", false
	}
	return name.Value, true
}

func (w *walk) tree(t *xdsv3.Matcher_MatcherTree, depth int) (string, bool) {
	what, value := w.input(t.GetInput())
	w.path = append(w.path, fmt.Sprintf("%s %s", what, named(value)))
	switch {
	case t.GetExactMatchMap() != nil:
		return w.onMatch(t.GetExactMatchMap().GetMap()[value], depth)
	case t.GetPrefixMatchMap() != nil:
		branches := t.GetPrefixMatchMap().GetMap()
		for n := len(value); n >= 0; n-- {
			if chain, ok := w.onMatch(branches[value[:n]], depth); ok {
				return chain, true
			}
		}
	case t.GetCustomMatch() != nil:
		ranges := &xdsv3.IPMatcher{}
		ip, err := netip.ParseAddr(value)
		if err == nil && t.GetCustomMatch().GetTypedConfig().UnmarshalTo(ranges) == nil {
			return w.ranges(ranges, ip.Unmap(), depth)
		}
	}
	return "", false
}

// ranges tries the ranges that have an address, the longest prefix first; one
// that is marked exclusive counts only as the first.
func (w *walk) ranges(m *xdsv3.IPMatcher, ip netip.Addr, depth int) (string, bool) {
	type candidate struct {
		bits int
		of   *xdsv3.IPMatcher_IPRangeMatcher
	}
	var found []candidate
	for _, r := range m.GetRangeMatchers() {
		for _, cidr := range r.GetRanges() {
			if p, ok := xdsPrefix(cidr); ok && p.Contains(ip) {
				found = append(found, candidate{p.Bits(), r})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(b.bits, a.bits) })
	for i, f := range found {
		if i > 0 && f.of.GetExclusive() {
			continue
		}
		if chain, ok := w.onMatch(f.of.GetOnMatch(), depth); ok {
			return chain, true
		}
	}
	return "", false
}

func xdsPrefix(r *xdscorev3.CidrRange) (p netip.Prefix, ok bool) {
	ip, err := netip.ParseAddr(r.GetAddressPrefix())
	if err != nil {
		return p, false
	}
	p, err = ip.Prefix(int(r.GetPrefixLen().GetValue()))
	return p, err == nil
}

// input returns what a matcher looks at, and its value.
func (w *walk) input(in *xdscorev3.TypedExtensionConfig) (what, value string) {
	message, err := in.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return "an input that is not understood", ""
	}
	switch m := message.(type) {
	case *inputsv3.DestinationIPInput:
		return "destination address", w.c.Destination.Addr().Unmap().String()
	case *inputsv3.DestinationPortInput:
		return "destination port", fmt.Sprint(w.c.Destination.Port())
	case *inputsv3.SourceIPInput:
		return "source address", ipText(w.c.Source.Addr())
	case *inputsv3.DirectSourceIPInput:
		return "direct source address", ipText(w.c.direct())
	case *inputsv3.SourcePortInput:
		return "source port", fmt.Sprint(w.c.Source.Port())
	case *inputsv3.ServerNameInput:
		return "server name", lower(w.c.ServerName)
	case *inputsv3.TransportProtocolInput:
		return "transport protocol", w.c.transport()
	case *inputsv3.ApplicationProtocolInput:
		return "application protocol", alpn(w.c.ALPN)
	case *inputsv3.FilterStateInput:
		return "filter state " + m.GetKey(), w.c.FilterState[m.GetKey()]
	}
	return "an input that is not understood", ""
}

// alpn writes application protocols as Envoy's input does: 'h2','http/1.1'.
func alpn(protocols []string) string {
	quoted := make([]string, len(protocols))
	for i, p := range protocols {
		quoted[i] = "'" + p + "'"
	}
	return strings.Join(quoted, ",")
}
