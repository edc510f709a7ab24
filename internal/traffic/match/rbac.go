package match

import (
	"maps"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	templatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// peerPrincipal is the filter state in which a waypoint keeps who calls.
const peerPrincipal = "io.istio.peer_principal"

// spiffe is the scheme of identities.
const spiffe = "spiffe://"

// maxTreeDepth bounds how deep permissions and principals may be nested;
// beyond it, a condition counts as undecided.
const maxTreeDepth = 64

// subject is what policies look at: a request of a peer, or, before HTTP, its
// connection alone.
type subject struct {
	req  *Request
	peer *Peer
	// http is false for network filters: there are no headers then and no path.
	http bool
	// mtls says that the chain terminates TLS and the client speaks it.
	mtls bool
	// remote is where the request comes from, by X-Forwarded-For.
	remote netip.Addr
	// uri is that of the client's certificate, "" if it has none.
	uri string
	// metadata is the dynamic metadata, by filter; nil until a filter leaves some.
	metadata map[string]any
}

// leave keeps what a filter leaves for those after it.
func (s *subject) leave(filter string, value map[string]any) {
	if s.metadata == nil {
		s.metadata = map[string]any{}
	}
	s.metadata[filter] = value
}

// ruleset are rules with the names of their policies in Envoy's order, which is
// by name.
type ruleset struct {
	*rbacv3.RBAC
	names []string
}

func newRuleset(r *rbacv3.RBAC) *ruleset {
	if r == nil {
		return nil
	}
	return &ruleset{RBAC: r, names: slices.Sorted(maps.Keys(r.Policies))}
}

// first returns the name of the first policy that matches, and whether one
// does.
func (r *ruleset) first(s *subject) (policy string, matched truth) {
	matched = no
	for _, name := range r.names {
		switch s.policy(r.Policies[name]) {
		case yes:
			return name, yes
		case unsure:
			if matched == no {
				policy, matched = name, unsure
			}
		}
	}
	return policy, matched
}

// policy reports whether a policy matches: one of its permissions and one of
// its principals.
func (s *subject) policy(p *rbacv3.Policy) truth {
	out := min(
		anyOf(p.GetPermissions(), func(x *rbacv3.Permission) truth { return s.permission(x, 0) }),
		anyOf(p.GetPrincipals(), func(x *rbacv3.Principal) truth { return s.principal(x, 0) }),
	)
	if p.GetCondition() != nil || p.GetCheckedCondition() != nil {
		out = min(out, unsure)
	}
	return out
}

func (s *subject) permission(p *rbacv3.Permission, depth int) truth {
	if depth > maxTreeDepth {
		return unsure
	}
	deeper := func(p *rbacv3.Permission) truth { return s.permission(p, depth+1) }
	switch r := p.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return yes
	case *rbacv3.Permission_AndRules:
		return all(r.AndRules.GetRules(), deeper)
	case *rbacv3.Permission_OrRules:
		return anyOf(r.OrRules.GetRules(), deeper)
	case *rbacv3.Permission_NotRule:
		return -deeper(r.NotRule)
	}
	return s.permissionLeaf(p)
}

func (s *subject) permissionLeaf(p *rbacv3.Permission) truth {
	port := int32(s.peer.Destination.Port())
	switch r := p.GetRule().(type) {
	case *rbacv3.Permission_Header:
		return s.header(r.Header)
	case *rbacv3.Permission_UrlPath:
		return s.urlPath(r.UrlPath)
	case *rbacv3.Permission_UriTemplate:
		return s.template(r.UriTemplate)
	case *rbacv3.Permission_DestinationIp:
		return contains(r.DestinationIp, s.peer.Destination.Addr())
	case *rbacv3.Permission_DestinationPort:
		return truthOf(r.DestinationPort == uint32(port))
	case *rbacv3.Permission_DestinationPortRange:
		return truthOf(port >= r.DestinationPortRange.GetStart() && port < r.DestinationPortRange.GetEnd())
	case *rbacv3.Permission_Metadata:
		return truthOf(matchMetadata(metadataOf(p), s.metadata))
	case *rbacv3.Permission_RequestedServerName:
		return truthOf(matchString(r.RequestedServerName, s.peer.ServerName))
	}
	return unsure
}

func (s *subject) principal(p *rbacv3.Principal, depth int) truth {
	if depth > maxTreeDepth {
		return unsure
	}
	deeper := func(p *rbacv3.Principal) truth { return s.principal(p, depth+1) }
	switch i := p.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return yes
	case *rbacv3.Principal_AndIds:
		return all(i.AndIds.GetIds(), deeper)
	case *rbacv3.Principal_OrIds:
		return anyOf(i.OrIds.GetIds(), deeper)
	case *rbacv3.Principal_NotId:
		return -deeper(i.NotId)
	}
	return s.principalLeaf(p)
}

func (s *subject) principalLeaf(p *rbacv3.Principal) truth {
	switch i := p.GetIdentifier().(type) {
	case *rbacv3.Principal_Authenticated_:
		return s.authenticated(i.Authenticated.GetPrincipalName())
	case *rbacv3.Principal_FilterState:
		return s.filterState(i.FilterState)
	//nolint:staticcheck // SA1019: deprecated, but Envoy 1.40 still obeys it.
	case *rbacv3.Principal_SourceIp:
		return contains(i.SourceIp, s.peer.Source.Addr())
	case *rbacv3.Principal_DirectRemoteIp:
		return contains(i.DirectRemoteIp, s.peer.direct())
	case *rbacv3.Principal_RemoteIp:
		return contains(i.RemoteIp, s.remote)
	case *rbacv3.Principal_Header:
		return s.header(i.Header)
	case *rbacv3.Principal_UrlPath:
		return s.urlPath(i.UrlPath)
	case *rbacv3.Principal_Metadata:
		return truthOf(matchMetadata(metadataOf(p), s.metadata))
	}
	return unsure
}

// authenticated tries the names of the client's certificate in Envoy's order:
// the URI, then the subject, which is empty in Istio's certificates. Nil takes
// every client that speaks TLS.
func (s *subject) authenticated(m *matcherv3.StringMatcher) truth {
	switch {
	case !s.mtls:
		return no
	case m == nil:
		return yes
	case s.uri != "" && matchString(m, s.uri):
		return yes
	}
	return truthOf(matchString(m, ""))
}

func (s *subject) filterState(m *matcherv3.FilterStateMatcher) truth {
	value, ok := s.peer.FilterState[m.GetKey()]
	if m.GetKey() == peerPrincipal && !ok {
		value, ok = s.uri, s.uri != ""
	}
	if m.GetStringMatch() == nil {
		return unsure
	}
	return truthOf(ok && matchString(m.GetStringMatch(), value))
}

func (s *subject) header(h *routev3.HeaderMatcher) truth {
	if !s.http {
		return truthOf(matchValues(h, nil))
	}
	return matchHeader(h, s.req)
}

func (s *subject) urlPath(m *matcherv3.PathMatcher) truth {
	return truthOf(s.http && matchURLPath(m, s.req.Path))
}

// template matches a path against a URI template.
func (s *subject) template(config *corev3.TypedExtensionConfig) truth {
	if !s.http {
		return no
	}
	p, _ := cutQuery(s.req.Path)
	return matchTemplate(config, p)
}

// matchTemplate reports whether a path without its query is like a URI
// template. It is unsure of other path policies.
func matchTemplate(config *corev3.TypedExtensionConfig, path string) truth {
	expr, ok := templateOf(config)
	if !ok {
		return unsure
	}
	return truthOf(compiled(expr).matches(path))
}

// templateOf returns the regular expression of a URI template.
func templateOf(config *corev3.TypedExtensionConfig) (expr string, ok bool) {
	template := &templatev3.UriTemplateMatchConfig{}
	if config.GetTypedConfig() == nil || config.GetTypedConfig().UnmarshalTo(template) != nil {
		return "", false
	}
	return templateRegex(template.GetPathTemplate()), true
}

// metadataOf returns the metadata that a permission or a principal asks for.
// The field is deprecated, but it is the one that istiod writes.
func metadataOf(p interface {
	GetMetadata() *matcherv3.MetadataMatcher
},
) *matcherv3.MetadataMatcher {
	return p.GetMetadata()
}

func contains(r *corev3.CidrRange, ip netip.Addr) truth {
	p, ok := prefix(r)
	return truthOf(ok && p.Contains(ip.Unmap()))
}
