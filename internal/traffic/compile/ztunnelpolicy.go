package compile

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	tcprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"istio.io/istio/pkg/workloadapi/security"
)

// strictPolicy is the name of the policy that istiod gives to ztunnels in the
// place of a PeerAuthentication that demands mTLS at every port.
const strictPolicy = "istio_converted_static_strict"

// policyFilters writes the policies of a ztunnel as filters of an Envoy: one
// that denies before one that allows, as ztunnels ask. strict tells whether
// what comes without HBONE is refused anyway.
func policyFilters(policies []*security.Authorization) (filters []*listenerv3.Filter, strict bool) {
	deny := &rbacv3.RBAC{Action: rbacv3.RBAC_DENY, Policies: map[string]*rbacv3.Policy{}}
	allow := &rbacv3.RBAC{Action: rbacv3.RBAC_ALLOW, Policies: map[string]*rbacv3.Policy{}}
	denies, allows := false, false
	for _, p := range policies {
		to := deny
		switch {
		case p.DryRun:
			continue
		case p.Name == strictPolicy:
			strict = true
			continue
		case p.Action == security.Action_ALLOW:
			to, allows = allow, true
		default:
			denies = true
		}
		for i, g := range p.Groups {
			to.Policies[fmt.Sprintf("ns[%s]-policy[%s]-rule[%d]", p.Namespace, p.Name, i)] = groupPolicy(g)
		}
	}
	if denies {
		filters = append(filters, filter("envoy.filters.network.rbac", &tcprbacv3.RBAC{StatPrefix: "tcp.", Rules: deny}))
	}
	if allows {
		filters = append(filters, filter("envoy.filters.network.rbac", &tcprbacv3.RBAC{StatPrefix: "tcp.", Rules: allow}))
	}
	return filters, strict
}

// groupPolicy writes a group: all of its rules must hold, and of a rule one of
// the matches. Envoy asks about the server and about the client apart; a rule
// with alternatives that are about both, which istiod does not write, is none
// that can be answered.
func groupPolicy(g *security.Group) *rbacv3.Policy {
	var server []*rbacv3.Permission
	var client []*rbacv3.Principal
	for _, r := range g.GetRules() {
		var servers []*rbacv3.Permission
		var clients []*rbacv3.Principal
		for _, m := range r.GetMatches() {
			servers, clients = append(servers, aboutServer(m)...), append(clients, aboutClient(m)...)
		}
		switch {
		case len(r.GetMatches()) > 1 && len(servers) > 0 && len(clients) > 0:
			client = append(client, &rbacv3.Principal{Identifier: &rbacv3.Principal_FilterState{FilterState: &matcherv3.FilterStateMatcher{Key: "two sides"}}})
		default:
			if len(servers) > 0 {
				server = append(server, &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: servers}}})
			}
			if len(clients) > 0 {
				client = append(client, anyOf(clients))
			}
		}
	}
	p := &rbacv3.Policy{
		Permissions: []*rbacv3.Permission{{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: server}}}},
		Principals:  []*rbacv3.Principal{{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: client}}}},
	}
	if len(server) == 0 {
		p.Permissions[0].Rule = &rbacv3.Permission_Any{Any: true}
	}
	if len(client) == 0 {
		p.Principals[0].Identifier = &rbacv3.Principal_Any{Any: true}
	}
	return p
}

// aboutServer is what a match asks of where the connection goes: one
// permission, or none.
func aboutServer(m *security.Match) []*rbacv3.Permission {
	var all []*rbacv3.Permission
	add := func(not bool, alternatives []*rbacv3.Permission) {
		if len(alternatives) == 0 {
			return
		}
		p := &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: alternatives}}}
		if not {
			p = &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: p}}
		}
		all = append(all, p)
	}
	ports := func(list []uint32) (out []*rbacv3.Permission) {
		for _, p := range list {
			out = append(out, &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPort{DestinationPort: p}})
		}
		return out
	}
	addresses := func(list []*security.Address) (out []*rbacv3.Permission) {
		for _, a := range list {
			out = append(out, &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationIp{DestinationIp: cidr(a)}})
		}
		return out
	}
	add(false, ports(m.GetDestinationPorts()))
	add(true, ports(m.GetNotDestinationPorts()))
	add(false, addresses(m.GetDestinationIps()))
	add(true, addresses(m.GetNotDestinationIps()))
	if len(all) == 0 {
		return nil
	}
	return []*rbacv3.Permission{{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: all}}}}
}

// aboutClient is what a match asks of who connects: one principal, or none.
func aboutClient(m *security.Match) []*rbacv3.Principal {
	var all []*rbacv3.Principal
	add := func(not bool, alternatives []*rbacv3.Principal) {
		if len(alternatives) == 0 {
			return
		}
		p := anyOf(alternatives)
		if not {
			p = &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: p}}
		}
		all = append(all, p)
	}
	add(false, each(m.GetPrincipals(), principal))
	add(true, each(m.GetNotPrincipals(), principal))
	add(false, each(m.GetNamespaces(), namespace))
	add(true, each(m.GetNotNamespaces(), namespace))
	add(false, each(m.GetServiceAccounts(), account))
	add(true, each(m.GetNotServiceAccounts(), account))
	add(false, each(m.GetSourceIps(), source))
	add(true, each(m.GetNotSourceIps(), source))
	if len(all) == 0 {
		return nil
	}
	return []*rbacv3.Principal{{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: all}}}}
}

func each[T any](list []T, of func(T) *rbacv3.Principal) []*rbacv3.Principal {
	var out []*rbacv3.Principal
	for _, x := range list {
		out = append(out, of(x))
	}
	return out
}

func anyOf(ids []*rbacv3.Principal) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: ids}}}
}

// authenticated is whoever shows a certificate with such a name; any name if m
// is nil.
func authenticated(m *matcherv3.StringMatcher) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_Authenticated_{Authenticated: &rbacv3.Principal_Authenticated{PrincipalName: m}}}
}

func principal(m *security.StringMatch) *rbacv3.Principal {
	const scheme = "spiffe://"
	switch p := m.GetMatchType().(type) {
	case *security.StringMatch_Exact:
		return authenticated(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: scheme + p.Exact}})
	case *security.StringMatch_Prefix:
		return authenticated(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: scheme + p.Prefix}})
	case *security.StringMatch_Suffix:
		return authenticated(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: p.Suffix}})
	}
	return authenticated(nil)
}

// namespace is whoever has an identity of a namespace, in the form in which
// istiod writes it for Envoy.
func namespace(m *security.StringMatch) *rbacv3.Principal {
	name := ".+"
	switch p := m.GetMatchType().(type) {
	case *security.StringMatch_Exact:
		name = regexp.QuoteMeta(p.Exact)
	case *security.StringMatch_Prefix:
		name = regexp.QuoteMeta(p.Prefix) + ".*"
	case *security.StringMatch_Suffix:
		name = ".*" + regexp.QuoteMeta(p.Suffix)
	}
	return authenticated(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: ".*/ns/" + name + "/.*"},
	}})
}

func account(m *security.ServiceAccountMatch) *rbacv3.Principal {
	suffix := strings.Join([]string{"", "ns", m.GetNamespace(), "sa", m.GetServiceAccount()}, "/")
	return authenticated(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: suffix}})
}

func source(a *security.Address) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_DirectRemoteIp{DirectRemoteIp: cidr(a)}}
}

// cidr is a range of addresses; istiod has checked them.
func cidr(a *security.Address) *corev3.CidrRange {
	ip, _ := netip.AddrFromSlice(a.GetAddress())
	return &corev3.CidrRange{AddressPrefix: ip.String(), PrefixLen: wrapperspb.UInt32(a.GetLength())}
}
