package match

import (
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	templatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
)

// maxWords bounds what is written of one condition of a policy.
const maxWords = 240

// whyNot says why a policy does not match: what it wants to be done, or, if
// that is the case, who it wants to do it.
func (s *subject) whyNot(p *rbacv3.Policy) string {
	permitted := anyOf(p.GetPermissions(), func(x *rbacv3.Permission) truth { return s.permission(x, 0) })
	if permitted == no {
		return fmt.Sprintf("%s, wanted %s", s.what(), joinWords(p.GetPermissions(), " or ", describePermission))
	}
	if anyOf(p.GetPrincipals(), func(x *rbacv3.Principal) truth { return s.principal(x, 0) }) == no {
		return fmt.Sprintf("%s, wanted %s", s.who(), joinWords(p.GetPrincipals(), " or ", describePrincipal))
	}
	return "it has a condition that is not understood"
}

// what says what the subject does.
func (s *subject) what() string {
	if !s.http {
		return fmt.Sprintf("the connection is to port %d", s.peer.Destination.Port())
	}
	p, _ := cutQuery(s.req.Path)
	return fmt.Sprintf("the request is %s %s to host %s at port %d", s.req.Method, p, s.req.Host, s.peer.Destination.Port())
}

// who says who the subject is.
func (s *subject) who() string {
	who := "the caller has no identity"
	if (s.mtls || s.peer.Internal) && s.peer.Identity != "" {
		who = "the caller is " + s.peer.Identity
	}
	if s.peer.Source.Addr().IsValid() {
		who += " at " + s.peer.Source.Addr().String()
	}
	if s.peer.Internal {
		who += " behind a tunnel"
	}
	if s.http && s.req.Token == nil {
		who += " without a token"
	}
	return who
}

// joinWords joins descriptions and cuts what gets too long.
func joinWords[T any](list []T, with string, describe func(T, int) string) string {
	var b strings.Builder
	for i, x := range list {
		if i > 0 {
			b.WriteString(with)
		}
		if b.Len() > maxWords {
			b.WriteString("…")
			break
		}
		b.WriteString(describe(x, 0))
	}
	return b.String()
}

func nested[T any](list []T, with string, depth int, describe func(T, int) string) string {
	if depth > 4 {
		return "…"
	}
	words := joinWords(list, with, func(x T, _ int) string { return describe(x, depth+1) })
	if len(list) > 1 {
		return "(" + words + ")"
	}
	return words
}

func describePermission(p *rbacv3.Permission, depth int) string {
	switch r := p.GetRule().(type) {
	case *rbacv3.Permission_Any:
		return "anything"
	case *rbacv3.Permission_AndRules:
		return nested(r.AndRules.GetRules(), " and ", depth, describePermission)
	case *rbacv3.Permission_OrRules:
		return nested(r.OrRules.GetRules(), " or ", depth, describePermission)
	case *rbacv3.Permission_NotRule:
		return "not " + nested([]*rbacv3.Permission{r.NotRule}, "", depth, describePermission)
	}
	return describePermissionLeaf(p)
}

func describePermissionLeaf(p *rbacv3.Permission) string {
	switch r := p.GetRule().(type) {
	case *rbacv3.Permission_Header:
		return describeNamed(r.Header.GetName()) + " " + describeHeader(r.Header)
	case *rbacv3.Permission_UrlPath:
		return "path " + describeString(r.UrlPath.GetPath())
	case *rbacv3.Permission_UriTemplate:
		return "path like " + templateText(r.UriTemplate)
	case *rbacv3.Permission_DestinationIp:
		return "destination " + cidrText(r.DestinationIp)
	case *rbacv3.Permission_DestinationPort:
		return fmt.Sprintf("port %d", r.DestinationPort)
	case *rbacv3.Permission_DestinationPortRange:
		return fmt.Sprintf("a port from %d to below %d", r.DestinationPortRange.GetStart(), r.DestinationPortRange.GetEnd())
	case *rbacv3.Permission_Metadata:
		return describeMetadata(metadataOf(p))
	case *rbacv3.Permission_RequestedServerName:
		return "server name " + describeString(r.RequestedServerName)
	}
	return "what is not understood"
}

func describePrincipal(p *rbacv3.Principal, depth int) string {
	switch i := p.GetIdentifier().(type) {
	case *rbacv3.Principal_Any:
		return "anybody"
	case *rbacv3.Principal_AndIds:
		return nested(i.AndIds.GetIds(), " and ", depth, describePrincipal)
	case *rbacv3.Principal_OrIds:
		return nested(i.OrIds.GetIds(), " or ", depth, describePrincipal)
	case *rbacv3.Principal_NotId:
		return "not " + nested([]*rbacv3.Principal{i.NotId}, "", depth, describePrincipal)
	}
	return describePrincipalLeaf(p)
}

func describePrincipalLeaf(p *rbacv3.Principal) string {
	switch i := p.GetIdentifier().(type) {
	case *rbacv3.Principal_Authenticated_:
		if i.Authenticated.GetPrincipalName() == nil {
			return "anybody with TLS"
		}
		return "identity " + describeString(i.Authenticated.GetPrincipalName())
	case *rbacv3.Principal_FilterState:
		if m := i.FilterState.GetStringMatch(); m != nil && i.FilterState.GetKey() == peerPrincipal {
			return "identity " + describeString(m)
		}
	case *rbacv3.Principal_Header:
		return describeNamed(i.Header.GetName()) + " " + describeHeader(i.Header)
	case *rbacv3.Principal_UrlPath:
		return "path " + describeString(i.UrlPath.GetPath())
	case *rbacv3.Principal_Metadata:
		return describeMetadata(metadataOf(p))
	}
	return describeAddress(p)
}

func describeAddress(p *rbacv3.Principal) string {
	switch i := p.GetIdentifier().(type) {
	//nolint:staticcheck // SA1019: deprecated, but Envoy 1.40 still obeys it.
	case *rbacv3.Principal_SourceIp:
		return "source " + cidrText(i.SourceIp)
	case *rbacv3.Principal_DirectRemoteIp:
		return "source " + cidrText(i.DirectRemoteIp)
	case *rbacv3.Principal_RemoteIp:
		return "origin " + cidrText(i.RemoteIp)
	}
	return "who is not understood"
}

func describeNamed(header string) string {
	if name, ok := pseudo[header]; ok {
		return name
	}
	return "header " + header
}

func cidrText(r *corev3.CidrRange) string {
	return fmt.Sprintf("%s/%d", r.GetAddressPrefix(), r.GetPrefixLen().GetValue())
}

func templateText(config *corev3.TypedExtensionConfig) string {
	template := &templatev3.UriTemplateMatchConfig{}
	if config.GetTypedConfig() == nil || config.GetTypedConfig().UnmarshalTo(template) != nil {
		return "what is not understood"
	}
	return template.GetPathTemplate()
}
